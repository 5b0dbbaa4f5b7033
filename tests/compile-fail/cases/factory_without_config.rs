//! A factory that does not say what its configuration looks like.

use portcullis::filter::{BuildCx, FilterFactory, Stage};
use portcullis::{BuildError, HeadFilter};

struct Mark;

impl HeadFilter for Mark {}

impl FilterFactory for Mark {
    const NAME: &'static str = "acme.mark";

    fn build(_: Self::Config, _: &BuildCx<'_>) -> Result<Stage, BuildError> {
        Ok(Stage::head(Self::NAME, Mark))
    }
}

fn main() {}
