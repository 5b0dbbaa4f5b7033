//! Everything a configuration may name: filters, layers, matchers, balancers, discoveries, connectors, dialects.
//!
//! Registration is explicit; a name that is taken is an error. The stock plugins come in through the same
//! door as a user's.

mod plain;

use std::collections::BTreeMap;
use std::fmt;
use std::sync::Arc;

use schemars::{JsonSchema, Schema, SchemaGenerator};
use serde::de::DeserializeOwned;
use tower_layer::Layer;

use crate::balance::Balancer;
use crate::bridge::IslandService;
use crate::config::raw::RawConfig;
use crate::config::{Diagnostic, Diagnostics, Document, PluginSpec, did_you_mean};
use crate::connect::Connector;
use crate::error::chain;
use crate::filter::{BuildCx, BuildError, Filter, FilterFactory, HeadFilter, Stage, StateStore};
use crate::handler::SharedService;
use crate::l4::ConnHandler;
use crate::route::Matcher;
use crate::upstream::Discovery;

type Factory<T> =
    Arc<dyn Fn(&PluginSpec, &BuildCx<'_>, &mut Diagnostics) -> Option<T> + Send + Sync>;

/// One registered name.
struct Entry<T> {
    build: Factory<T>,
    schema: fn(&mut SchemaGenerator) -> Schema,
}

impl<T> Clone for Entry<T> {
    fn clone(&self) -> Self {
        Self {
            build: self.build.clone(),
            schema: self.schema,
        }
    }
}

/// The registered names of one kind of plugin.
struct Table<T> {
    kind: &'static str,
    entries: BTreeMap<&'static str, Entry<T>>,
}

impl<T> Clone for Table<T> {
    fn clone(&self) -> Self {
        Self {
            kind: self.kind,
            entries: self.entries.clone(),
        }
    }
}

impl<T> Table<T> {
    fn new(kind: &'static str) -> Self {
        Self {
            kind,
            entries: BTreeMap::new(),
        }
    }

    fn build(&self, spec: &PluginSpec, cx: &BuildCx<'_>, problems: &mut Diagnostics) -> Option<T> {
        match self.entries.get(spec.kind.as_str()) {
            Some(entry) => (entry.build)(spec, cx, problems),
            None => {
                let mut problem =
                    spec.kind_error(format!("no {} is called `{}`", self.kind, spec.kind));
                problem = match did_you_mean(&spec.kind, self.entries.keys().copied()) {
                    Some(near) => problem.hint(format!("did you mean `{near}`?")),
                    None => problem.hint(format!(
                        "known: {}",
                        self.entries.keys().copied().collect::<Vec<_>>().join(", ")
                    )),
                };
                problems.push(problem);
                None
            }
        }
    }

    /// The schema of any plugin of this kind: one alternative for each name.
    fn schema(&self, generator: &mut SchemaGenerator) -> serde_json::Value {
        let alternatives: Vec<serde_json::Value> = self
            .entries
            .iter()
            .map(|(name, entry)| {
                let mut schema = (entry.schema)(generator).to_value();
                with_type(&mut schema, name);
                schema
            })
            .collect();
        if alternatives.is_empty() {
            // `oneOf` must not be empty; without a plugin nothing is right.
            return serde_json::json!({ "not": {} });
        }
        serde_json::json!({ "oneOf": alternatives })
    }
}

/// Adds the `type` key, which the plugin's own type does not have.
fn with_type(schema: &mut serde_json::Value, name: &str) {
    let Some(object) = schema.as_object_mut() else {
        *schema = serde_json::json!({ "type": "object", "properties": { "type": { "const": name } }, "required": ["type"] });
        return;
    };
    object.entry("type").or_insert_with(|| "object".into());
    let properties = object
        .entry("properties")
        .or_insert_with(|| serde_json::json!({}));
    if let Some(properties) = properties.as_object_mut() {
        properties.insert("type".into(), serde_json::json!({ "const": name }));
    }
    let required = object
        .entry("required")
        .or_insert_with(|| serde_json::json!([]));
    if let Some(required) = required.as_array_mut() {
        required.insert(0, "type".into());
    }
}

/// A foreign form of configuration, told apart by the shape of a document and translated to the native one.
pub trait Dialect: Send + Sync + fmt::Debug + 'static {
    /// The dialect's name, for messages.
    fn name(&self) -> &'static str;

    /// Whether a document is written in this dialect; looks at its top-level keys only.
    fn recognises(&self, document: &Document) -> bool;

    /// Translates all documents of this dialect together.
    ///
    /// Every problem goes to `problems`, with its place in the original.
    fn translate(&self, documents: &[Document], problems: &mut Diagnostics) -> RawConfig;
}

/// Everything a configuration may name. Cheap to clone.
#[derive(Clone)]
pub struct Registry(Arc<Tables>);

#[derive(Clone)]
struct Tables {
    filters: Table<Stage>,
    matchers: Table<Arc<dyn Matcher>>,
    balancers: Table<Arc<dyn Balancer>>,
    discoveries: Table<Arc<dyn Discovery>>,
    connectors: Table<Arc<dyn Connector>>,
    conn_handlers: Table<Arc<dyn ConnHandler>>,
    dialects: Vec<Arc<dyn Dialect>>,
}

impl Registry {
    /// Starts with what the core itself brings: balancers and discoveries.
    pub fn builder() -> RegistryBuilder {
        RegistryBuilder {
            tables: Tables {
                filters: Table::new("filter"),
                matchers: Table::new("matcher"),
                balancers: Table::new("balancer"),
                discoveries: Table::new("discovery"),
                connectors: Table::new("connector"),
                conn_handlers: Table::new("connection handler"),
                dialects: Vec::new(),
            },
            taken: Vec::new(),
        }
        .builtins()
    }

    /// Builds the filter a configuration names.
    pub fn filter(
        &self,
        spec: &PluginSpec,
        cx: &BuildCx<'_>,
        problems: &mut Diagnostics,
    ) -> Option<Stage> {
        self.0.filters.build(spec, cx, problems)
    }

    /// Builds the matcher a configuration names.
    pub fn matcher(
        &self,
        spec: &PluginSpec,
        cx: &BuildCx<'_>,
        problems: &mut Diagnostics,
    ) -> Option<Arc<dyn Matcher>> {
        self.0.matchers.build(spec, cx, problems)
    }

    /// Builds the balancer a configuration names.
    pub fn balancer(
        &self,
        spec: &PluginSpec,
        cx: &BuildCx<'_>,
        problems: &mut Diagnostics,
    ) -> Option<Arc<dyn Balancer>> {
        self.0.balancers.build(spec, cx, problems)
    }

    /// Builds the discovery a configuration names.
    pub fn discovery(
        &self,
        spec: &PluginSpec,
        cx: &BuildCx<'_>,
        problems: &mut Diagnostics,
    ) -> Option<Arc<dyn Discovery>> {
        self.0.discoveries.build(spec, cx, problems)
    }

    /// Builds the connector a configuration names.
    pub fn connector(
        &self,
        spec: &PluginSpec,
        cx: &BuildCx<'_>,
        problems: &mut Diagnostics,
    ) -> Option<Arc<dyn Connector>> {
        self.0.connectors.build(spec, cx, problems)
    }

    /// Builds the connection handler a configuration names.
    pub fn conn_handler(
        &self,
        spec: &PluginSpec,
        cx: &BuildCx<'_>,
        problems: &mut Diagnostics,
    ) -> Option<Arc<dyn ConnHandler>> {
        self.0.conn_handlers.build(spec, cx, problems)
    }

    /// The dialect a document is written in, if it is a foreign one.
    #[must_use]
    pub fn dialect_of(&self, document: &Document) -> Option<&Arc<dyn Dialect>> {
        self.0
            .dialects
            .iter()
            .find(|dialect| dialect.recognises(document))
    }

    /// The names of the dialects, in the order they are asked.
    #[must_use]
    pub fn dialects(&self) -> Vec<&'static str> {
        self.0
            .dialects
            .iter()
            .map(|dialect| dialect.name())
            .collect()
    }

    /// The JSON Schema of the native configuration with every registered plugin.
    #[must_use]
    pub fn schema(&self) -> serde_json::Value {
        let mut generator = SchemaGenerator::default();
        let mut root = generator.root_schema_for::<RawConfig>().to_value();
        let kinds = [
            ("filter", self.0.filters.schema(&mut generator)),
            ("matcher", self.0.matchers.schema(&mut generator)),
            ("balancer", self.0.balancers.schema(&mut generator)),
            ("discovery", self.0.discoveries.schema(&mut generator)),
            ("connector", self.0.connectors.schema(&mut generator)),
            ("conn-handler", self.0.conn_handlers.schema(&mut generator)),
        ];
        point_plugins(&mut root);
        if let Some(root) = root.as_object_mut() {
            let definitions = root.entry("$defs").or_insert_with(|| serde_json::json!({}));
            if let Some(definitions) = definitions.as_object_mut() {
                for (name, schema) in generator.take_definitions(true) {
                    definitions.entry(name).or_insert(schema);
                }
                for (kind, schema) in kinds {
                    definitions.insert(format!("plugin-{kind}"), schema);
                }
            }
        }
        plain::descriptions(&mut root);
        root
    }

    /// The registered names, by kind.
    #[must_use]
    pub fn names(&self) -> BTreeMap<&'static str, Vec<&'static str>> {
        fn of<T>(table: &Table<T>) -> (&'static str, Vec<&'static str>) {
            (table.kind, table.entries.keys().copied().collect())
        }
        [
            of(&self.0.filters),
            of(&self.0.matchers),
            of(&self.0.balancers),
            of(&self.0.discoveries),
            of(&self.0.connectors),
            of(&self.0.conn_handlers),
        ]
        .into()
    }
}

/// Replaces the general schema of a plugin by that of the registered ones, where a key says which kind it takes.
fn point_plugins(schema: &mut serde_json::Value) {
    match schema {
        serde_json::Value::Object(object) => {
            if let Some(kind) = object.remove("x-portcullis-plugins")
                && let Some(kind) = kind.as_str()
            {
                let reference = serde_json::json!({ "$ref": format!("#/$defs/plugin-{kind}") });
                if object.contains_key("items") {
                    object.insert("items".into(), reference);
                } else {
                    object.remove("$ref");
                    object.remove("anyOf");
                    object.insert("$ref".into(), reference["$ref"].clone());
                }
            }
            object.values_mut().for_each(point_plugins);
        }
        serde_json::Value::Array(items) => items.iter_mut().for_each(point_plugins),
        _ => {}
    }
}

impl fmt::Debug for Registry {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Registry").field(&self.names()).finish()
    }
}

/// Collects registrations. Mistakes are reported together by [`build`](Self::build).
#[must_use]
pub struct RegistryBuilder {
    tables: Tables,
    taken: Vec<String>,
}

/// Names that were registered twice.
#[derive(Debug, thiserror::Error)]
#[error("registering {}: the name is taken", .names.join(", "))]
pub struct RegistryError {
    names: Vec<String>,
}

impl RegistryBuilder {
    /// Registers a filter by its factory.
    pub fn filter<F: FilterFactory>(mut self) -> Self {
        let entry = entry::<F::Config, _, _>(F::build);
        insert(&mut self.tables.filters, &mut self.taken, F::NAME, entry);
        self
    }

    /// Registers a filter that sees heads, by a function that makes it from its configuration.
    pub fn head_filter<C, F, B>(mut self, name: &'static str, build: B) -> Self
    where
        C: DeserializeOwned + JsonSchema,
        F: HeadFilter,
        B: Fn(C, &BuildCx<'_>) -> Result<F, BuildError> + Send + Sync + 'static,
    {
        let entry = entry::<C, _, _>(move |config, cx: &BuildCx<'_>| {
            build(config, cx).map(|filter| Stage::head(name, filter))
        });
        insert(&mut self.tables.filters, &mut self.taken, name, entry);
        self
    }

    /// Registers an asynchronous filter, by a function that makes it from its configuration.
    pub fn async_filter<C, F, B>(mut self, name: &'static str, build: B) -> Self
    where
        C: DeserializeOwned + JsonSchema,
        F: Filter,
        B: Fn(C, &BuildCx<'_>) -> Result<F, BuildError> + Send + Sync + 'static,
    {
        let entry = entry::<C, _, _>(move |config, cx: &BuildCx<'_>| {
            build(config, cx).map(|filter| Stage::filter(name, filter))
        });
        insert(&mut self.tables.filters, &mut self.taken, name, entry);
        self
    }

    /// Registers any tower layer as a filter, by a function that makes it from its configuration.
    pub fn layer<C, L, B>(mut self, name: &'static str, build: B) -> Self
    where
        C: DeserializeOwned + JsonSchema,
        L: Layer<SharedService> + Send + Sync + 'static,
        L::Service: IslandService,
        B: Fn(C, &BuildCx<'_>) -> Result<L, BuildError> + Send + Sync + 'static,
    {
        let entry = entry::<C, _, _>(move |config, cx: &BuildCx<'_>| {
            build(config, cx).map(|layer| Stage::layer(name, layer))
        });
        insert(&mut self.tables.filters, &mut self.taken, name, entry);
        self
    }

    /// Registers a matcher, for the `custom` key of a route's match.
    pub fn matcher<C, M, B>(mut self, name: &'static str, build: B) -> Self
    where
        C: DeserializeOwned + JsonSchema,
        M: Matcher,
        B: Fn(C, &BuildCx<'_>) -> Result<M, BuildError> + Send + Sync + 'static,
    {
        let entry = entry::<C, _, _>(move |config, cx: &BuildCx<'_>| {
            build(config, cx).map(|matcher| Arc::new(matcher) as Arc<dyn Matcher>)
        });
        insert(&mut self.tables.matchers, &mut self.taken, name, entry);
        self
    }

    /// Registers a balancer, for the `balance` key of an upstream.
    pub fn balancer<C, P, B>(mut self, name: &'static str, build: B) -> Self
    where
        C: DeserializeOwned + JsonSchema,
        P: Balancer,
        B: Fn(C, &BuildCx<'_>) -> Result<P, BuildError> + Send + Sync + 'static,
    {
        let entry = entry::<C, _, _>(move |config, cx: &BuildCx<'_>| {
            build(config, cx).map(|balancer| Arc::new(balancer) as Arc<dyn Balancer>)
        });
        insert(&mut self.tables.balancers, &mut self.taken, name, entry);
        self
    }

    /// Registers a discovery, for the `discovery` key of an upstream.
    pub fn discovery<C, D, B>(mut self, name: &'static str, build: B) -> Self
    where
        C: DeserializeOwned + JsonSchema,
        D: Discovery,
        B: Fn(C, &BuildCx<'_>) -> Result<D, BuildError> + Send + Sync + 'static,
    {
        let entry = entry::<C, _, _>(move |config, cx: &BuildCx<'_>| {
            build(config, cx).map(|discovery| Arc::new(discovery) as Arc<dyn Discovery>)
        });
        insert(&mut self.tables.discoveries, &mut self.taken, name, entry);
        self
    }

    /// Registers a connector, for the `connector` key of an upstream.
    pub fn connector<C, K, B>(mut self, name: &'static str, build: B) -> Self
    where
        C: DeserializeOwned + JsonSchema,
        K: Connector,
        B: Fn(C, &BuildCx<'_>) -> Result<K, BuildError> + Send + Sync + 'static,
    {
        let entry = entry::<C, _, _>(move |config, cx: &BuildCx<'_>| {
            build(config, cx).map(|connector| Arc::new(connector) as Arc<dyn Connector>)
        });
        insert(&mut self.tables.connectors, &mut self.taken, name, entry);
        self
    }

    /// Registers a handler of whole connections, for the `handler` key of a listener.
    pub fn conn_handler<C, H, B>(mut self, name: &'static str, build: B) -> Self
    where
        C: DeserializeOwned + JsonSchema,
        H: ConnHandler,
        B: Fn(C, &BuildCx<'_>) -> Result<H, BuildError> + Send + Sync + 'static,
    {
        let entry = entry::<C, _, _>(move |config, cx: &BuildCx<'_>| {
            build(config, cx).map(|handler| Arc::new(handler) as Arc<dyn ConnHandler>)
        });
        insert(&mut self.tables.conn_handlers, &mut self.taken, name, entry);
        self
    }

    /// Registers a foreign form of configuration.
    pub fn dialect(mut self, dialect: impl Dialect) -> Self {
        self.tables.dialects.push(Arc::new(dialect));
        self
    }

    /// Ends the registration.
    ///
    /// # Errors
    /// All names that were registered more than once.
    pub fn build(self) -> Result<Registry, RegistryError> {
        if self.taken.is_empty() {
            Ok(Registry(Arc::new(self.tables)))
        } else {
            Err(RegistryError { names: self.taken })
        }
    }

    fn builtins(self) -> Self {
        crate::builtins::register(self)
    }
}

impl fmt::Debug for RegistryBuilder {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("RegistryBuilder").finish_non_exhaustive()
    }
}

fn entry<C, T, B>(build: B) -> Entry<T>
where
    C: DeserializeOwned + JsonSchema,
    B: Fn(C, &BuildCx<'_>) -> Result<T, BuildError> + Send + Sync + 'static,
{
    Entry {
        build: Arc::new(move |spec, cx, problems| {
            let mut settings = spec.recover::<C>(problems);
            let config = settings.value.take()?;
            // What is made of settings with mistakes is thrown away, and must leave no state behind.
            let store = StateStore::default();
            let trial = BuildCx::new(cx.owner(), &store);
            let error = match build(config, if settings.clean { cx } else { &trial }) {
                Ok(built) => return Some(built).filter(|_| settings.clean),
                Err(error) => error,
            };
            // A value that was left out may be the reason, unless the error is about one that was not.
            let blames = |key| spec.keeps(&settings, key);
            if settings.clean || error.key().is_some_and(blames) {
                problems.push(build_problem(spec, &error));
            }
            None
        }),
        schema: |generator| C::json_schema(generator),
    }
}

/// Points at the key the plugin blames, else at the plugin.
fn build_problem(spec: &PluginSpec, error: &BuildError) -> Diagnostic {
    let message = format!("{}: {}", spec.kind, chain(error));
    let problem = match error.key().and_then(|key| spec.body.node().get(key)) {
        Some(node) => Diagnostic::error(message)
            .at(node.location())
            .path(node.path()),
        None => spec.error(message),
    };
    match error.advice() {
        Some(hint) => problem.hint(hint),
        None => problem,
    }
}

fn insert<T>(table: &mut Table<T>, taken: &mut Vec<String>, name: &'static str, entry: Entry<T>) {
    if table.entries.insert(name, entry).is_some() {
        taken.push(format!("{} `{name}`", table.kind));
    }
}
