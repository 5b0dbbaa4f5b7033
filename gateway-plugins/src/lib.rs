//! The stock filters of the Portcullis gateway framework.
//!
//! [`std_registry`] starts a registry with all of them; they come in through the same door as a user's own.
//!
//! | `type` | does |
//! |---|---|
//! | [`headers`] | sets, adds and removes header fields of requests and replies |
//! | [`rewrite`] | changes path and host of the request that goes upstream |
//! | [`redirect`] | sends the client elsewhere |
//! | [`respond`] | answers itself |
//! | [`body-limit`](body_limit) | refuses request bodies that are too long |
//! | [`request-id`](request_id) | gives each request a name that shows up in every log |
//! | [`fault`] | delays and refuses a share of the requests, to see what comes of it |
//! | [`compression`] | compresses replies |
//!
//! The comments on the fields of each `Config` type are the manual of its settings.

#![cfg_attr(test, allow(clippy::unwrap_used, clippy::expect_used))]

pub mod api;
pub mod body_limit;
#[cfg(feature = "compression")]
pub mod compression;
pub mod fault;
pub mod headers;
pub mod path_rule;
pub mod redirect;
pub mod request_id;
pub mod respond;
pub mod rewrite;
pub mod values;

#[cfg(test)]
mod harness;
mod random;

use portcullis_core::Registry;
use portcullis_core::registry::RegistryBuilder;

pub use body_limit::BodyLimit;
#[cfg(feature = "compression")]
pub use compression::Compression;
pub use fault::Fault;
pub use headers::Headers;
pub use redirect::Redirect;
pub use request_id::RequestId;
pub use respond::Respond;
pub use rewrite::Rewrite;

/// A registry builder that knows what the core brings and every stock filter.
///
/// ```
/// let registry = portcullis_plugins::std_registry().build()?;
/// assert!(registry.names()["filter"].contains(&"headers"));
/// # Ok::<(), portcullis_core::registry::RegistryError>(())
/// ```
pub fn std_registry() -> RegistryBuilder {
    register(Registry::builder())
}

/// Adds every stock filter to a registry.
pub fn register(builder: RegistryBuilder) -> RegistryBuilder {
    let builder = builder
        .filter::<Headers>()
        .filter::<Rewrite>()
        .filter::<Redirect>()
        .filter::<Respond>()
        .filter::<BodyLimit>()
        .filter::<RequestId>()
        .filter::<Fault>();
    #[cfg(feature = "compression")]
    let builder = builder.filter::<Compression>();
    builder
}

#[cfg(test)]
mod tests {
    use portcullis_core::testing::filter::{Methods, check_stage};
    use serde_json::json;

    use crate::harness::build;

    #[tokio::test]
    async fn every_filter_obeys_the_laws_of_filters() {
        for (kind, settings) in [
            (
                "headers",
                json!({ "request": { "set": { "host": "a", "x-a": "b" } }, "response": { "remove": ["etag"] } }),
            ),
            (
                "rewrite",
                json!({ "path": { "prefix": "/v2" }, "host": "internal" }),
            ),
            (
                "rewrite",
                json!({ "path": { "regex": { "pattern": "/", "replacement": "" } } }),
            ),
            ("redirect", json!({ "scheme": "https" })),
            (
                "redirect",
                json!({ "path": { "regex": { "pattern": "^/+", "replacement": "/" } } }),
            ),
            (
                "respond",
                json!({ "status": 418, "body": "short and stout" }),
            ),
            ("respond", json!({ "status": 304 })),
            ("body-limit", json!({ "max": 2 })),
            ("request-id", json!({ "accept": "always" })),
            ("fault", json!({ "delay": { "fixed": "1ms" } })),
            ("fault", json!({ "abort": { "status": 418 } })),
            #[cfg(feature = "compression")]
            ("compression", json!({ "min_size": 0 })),
        ] {
            check_stage(build(kind, settings).unwrap(), Methods::Kept).await;
        }
    }

    #[test]
    fn the_schema_describes_every_filter() {
        let schema = crate::std_registry().build().unwrap().schema();
        let filters = schema["$defs"]["plugin-filter"]["oneOf"]
            .as_array()
            .unwrap();
        let names: Vec<_> = filters
            .iter()
            .map(|filter| filter["properties"]["type"]["const"].as_str().unwrap())
            .collect();
        for name in [
            "body-limit",
            "fault",
            "headers",
            "redirect",
            "request-id",
            "respond",
            "rewrite",
        ] {
            assert!(names.contains(&name), "{name}");
        }
        let rewrite = &filters[names.iter().position(|name| *name == "rewrite").unwrap()];
        assert!(
            rewrite["properties"]["host"]["description"]
                .as_str()
                .unwrap()
                .contains("upstream")
        );
    }
}
