//! Making filters from configuration.

use std::any::Any;
use std::fmt;
use std::sync::Arc;

use schemars::JsonSchema;
use serde::de::DeserializeOwned;

use super::{Stage, StateStore};
use crate::error::BoxError;

/// Makes a stage from a typed configuration. Implement it on a unit type, or register a closure.
///
/// ```
/// use portcullis_core::filter::{BuildCx, BuildError, FilterFactory, HeadFilter, ResponseHead, Stage};
/// use portcullis_core::GatewayError;
/// use http::HeaderValue;
///
/// /// Marks replies.
/// #[derive(serde::Deserialize, schemars::JsonSchema)]
/// #[serde(deny_unknown_fields)]
/// struct MarkConfig {
///     /// The text of the mark.
///     text: String,
/// }
///
/// struct Mark(HeaderValue);
///
/// impl HeadFilter for Mark {
///     fn on_response(&self, head: &mut ResponseHead<'_>) -> Result<(), GatewayError> {
///         head.headers_mut().insert("x-mark", self.0.clone());
///         Ok(())
///     }
/// }
///
/// struct MarkFactory;
///
/// impl FilterFactory for MarkFactory {
///     const NAME: &'static str = "acme.mark";
///     type Config = MarkConfig;
///
///     fn build(config: MarkConfig, _cx: &BuildCx<'_>) -> Result<Stage, BuildError> {
///         let value = HeaderValue::from_str(&config.text)
///             .map_err(|_| BuildError::new("`text` must be a header value: visible ASCII").at("text"))?;
///         Ok(Stage::head(Self::NAME, Mark(value)))
///     }
/// }
/// ```
#[diagnostic::on_unimplemented(
    message = "`{Self}` does not make filters",
    label = "this does not implement `FilterFactory`",
    note = "a factory names its filter and the type of its configuration: `const NAME`, `type Config`, `fn build`"
)]
pub trait FilterFactory: 'static {
    /// The name used as `type:` in configurations; prefix it with your own (`acme.mark`).
    const NAME: &'static str;
    /// The keys beside `type`. Use `#[serde(deny_unknown_fields)]`, so that misspelled keys are errors.
    type Config: DeserializeOwned + JsonSchema;

    /// Makes the stage. Parse and look up here what requests should not have to, and act on nothing: stages are
    /// also made of configurations that are refused, and of settings with mistakes, to see what else is wrong.
    ///
    /// # Errors
    /// What is wrong with the configuration; it is reported with the place of the filter in the file.
    fn build(config: Self::Config, cx: &BuildCx<'_>) -> Result<Stage, BuildError>;
}

/// The configuration of a plugin that has no settings: any key beside `type` is an error.
///
/// ```
/// # use portcullis_core::{HeadFilter, Registry, filter::NoConfig};
/// # struct Mark;
/// # impl HeadFilter for Mark {}
/// let registry = Registry::builder().head_filter("acme.mark", |_: NoConfig, _| Ok(Mark)).build();
/// # assert!(registry.is_ok());
/// ```
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, serde::Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
#[non_exhaustive]
pub struct NoConfig {}

/// What is wrong with a plugin's configuration.
#[derive(Debug)]
pub struct BuildError {
    message: String,
    key: Option<String>,
    hint: Option<String>,
    source: Option<BoxError>,
}

impl BuildError {
    /// `message` says what is wrong and how to fix it.
    pub fn new(message: impl Into<String>) -> Self {
        Self {
            message: message.into(),
            key: None,
            hint: None,
            source: None,
        }
    }

    /// Names the key at fault, so that the report points at it.
    #[must_use]
    pub fn at(mut self, key: impl Into<String>) -> Self {
        self.key = Some(key.into());
        self
    }

    /// Says what to do about it, apart from what is wrong.
    #[must_use]
    pub fn hint(mut self, hint: impl Into<String>) -> Self {
        self.hint = Some(hint.into());
        self
    }

    /// Attaches the cause.
    #[must_use]
    pub fn with_source(mut self, source: impl Into<BoxError>) -> Self {
        self.source = Some(source.into());
        self
    }

    /// What to do about it, if that was said.
    #[must_use]
    pub fn advice(&self) -> Option<&str> {
        self.hint.as_deref()
    }

    /// The key at fault, if named.
    #[must_use]
    pub fn key(&self) -> Option<&str> {
        self.key.as_deref()
    }
}

impl fmt::Display for BuildError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.message)
    }
}

impl std::error::Error for BuildError {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        self.source.as_deref().map(|source| source as _)
    }
}

/// Lent to factories while a configuration is compiled.
#[derive(Clone, Copy, Debug)]
pub struct BuildCx<'a> {
    owner: &'a str,
    store: &'a StateStore,
}

impl<'a> BuildCx<'a> {
    /// A context for the plugin that belongs to `owner`, for example `route orders`.
    #[must_use]
    pub fn new(owner: &'a str, store: &'a StateStore) -> Self {
        Self { owner, store }
    }

    /// Whose plugin is being built, for example `route orders`.
    #[must_use]
    pub fn owner(&self) -> &str {
        self.owner
    }

    /// State that outlives reloads: the value of type `T` under `key`, made by `init` the first time. What nobody
    /// holds any more is forgotten after a while: see [`StateStore`].
    pub fn shared<T: Any + Send + Sync>(&self, key: &str, init: impl FnOnce() -> T) -> Arc<T> {
        self.store.shared(key, init)
    }
}
