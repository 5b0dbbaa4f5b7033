//! PEM documents: text, or files beside the configuration.

use std::path::{Path, PathBuf};

use super::findings::Findings;
use crate::{
    config::{capture::Located, diagnostic::Location, pem::Pem},
    tls::PemSource,
};

/// Where the document is; `None` when that is wrong. `owner` and `what` name inline text in errors.
pub(super) fn source(
    pem: &Located<Pem>,
    owner: &str,
    what: &str,
    problems: &mut Findings<'_>,
) -> Option<Located<PemSource>> {
    let source = match &pem.value {
        _ if pem.is_missing() => None,
        Pem::File(path) if path.as_os_str().is_empty() => {
            problems.push(pem.error("expected the path of a PEM file, or PEM text, found nothing"));
            None
        }
        Pem::File(path) => Some(PemSource::file(beside(path, &pem.at))),
        Pem::Inline(text) => {
            let label = format!("the {what} of {owner}");
            Some(PemSource::inline(label, text.as_bytes()))
        }
    };
    source.map(|source| pem.with(source))
}

/// A path as seen from the file it was written in.
fn beside(path: &Path, at: &Location) -> PathBuf {
    let folder = if at.is_known() {
        Path::new(&*at.file).parent()
    } else {
        None
    };
    folder.map_or_else(|| path.to_owned(), |folder| folder.join(path))
}
