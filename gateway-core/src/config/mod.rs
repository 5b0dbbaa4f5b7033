//! Configuration documents: files become trees with positions, trees become typed values.
//!
//! ```text
//! text --Document::parse--> tree of nodes, each with file:line:column
//!      --decode::<T>------> T, or every mistake of the document at once
//! ```
//!
//! Nothing here knows what a setting means. References between objects, compilation and files on disk that a
//! setting names belong to the stages behind this one, which report into the same [`Diagnostics`]. They look at
//! what is left of documents with mistakes too, so that one run finds the mistakes of all stages.
//!
//! A plugin's settings are kept as a [`PluginSpec`]: the tree under its entry, decoded later by the plugin's
//! own type with the same positions.
//!
//! ```
//! use portcullis_core::config::{Diagnostics, Document, Format, RawConfig, decode};
//!
//! let text = "listeners: [{ name: web, bind: '127.0.0.1:8080', protocoll: auto }]\nroutes: [{ name: 1 }]\n";
//! let documents = Document::parse("gateway.yaml", text, Format::Yaml).unwrap();
//! let mut diagnostics = Diagnostics::new();
//! let config = decode::<RawConfig>(documents[0].root(), &mut diagnostics);
//! assert!(config.is_none());
//! assert_eq!(diagnostics.len(), 2);
//! ```

mod capture;
mod damage;
mod decode;
mod diagnostic;
mod fault;
pub mod ir;
mod load;
mod lower;
mod merge;
mod node;
mod parse_toml;
mod parse_yaml;
mod pem;
pub mod raw;
mod tree;
pub mod units;
pub mod values;
mod write;

pub(crate) use damage::Damage;

pub use capture::{Captured, Located, PluginSpec};
pub use decode::{MAX_MISTAKES, decode};
pub use diagnostic::{Diagnostic, Diagnostics, Location, Severity, did_you_mean};
pub use ir::Config;
pub use load::{Loaded, load, parse_native, translate};
pub(crate) use load::{Reading, read_files, read_text};
pub use lower::lower;
pub(crate) use lower::lower_rest;
pub use node::{Document, Format, Kind, NodeRef};
pub use pem::Pem;
pub use raw::{RawConfig, schema};
pub use tree::{MAX_DEPTH, MAX_EXPANDED_BYTES, MAX_FILE_BYTES, MAX_NODES};
pub use units::{ByteSize, TimeSpan};
pub use values::{
    BindAddress, Cidr, EndpointAddress, HostRewrite, RetryCondition, StatusRange, ValueError,
};
pub use write::to_native;
