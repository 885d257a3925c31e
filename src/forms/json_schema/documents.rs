//! The documents that a schema is made of, and what its references mean
//! (<https://json-schema.org/draft/2020-12/json-schema-core#section-8.2>).
//!
//! Always holds: nothing is fetched; a reference finds the definition itself, what its publisher supplied along with
//! it, or a meta-schema of the draft, and nothing else. `$id` and `$anchor` count where a schema stands, not inside
//! of `enum` or of keywords that nobody knows.

use std::collections::{BTreeMap, HashMap};
use std::rc::Rc;

use percent_encoding::percent_decode_str;
use referencing::{Uri, meta, unescape_segment, uri};
use serde_json::Value;

use super::Refusal;

/// Keywords whose value is a schema, a list of schemas, or schemas by name.
const ONE: [&str; 11] = [
    "items",
    "contains",
    "additionalProperties",
    "propertyNames",
    "not",
    "if",
    "then",
    "else",
    "unevaluatedItems",
    "unevaluatedProperties",
    "contentSchema",
];
const LIST: [&str; 4] = ["allOf", "anyOf", "oneOf", "prefixItems"];
const NAMED: [&str; 5] = ["$defs", "definitions", "properties", "patternProperties", "dependentSchemas"];

/// How many dynamic anchors there may be: a schema is another one for each meaning of each of them.
const MAX_DYNAMIC_ANCHORS: usize = 100;

/// Where the definition stands that has no `$id`.
const ROOT: &str = "json-schema:///";

/// A schema, and where it stands.
#[derive(Debug, Clone)]
pub(super) struct Place<'s> {
    pub(super) schema: &'s Value,
    /// For people: a JSON Pointer into the definition, or the URI of another document, `#`, and a pointer.
    pub(super) name: Rc<str>,
    /// The URI of the schema resource that it belongs to.
    pub(super) base: Rc<str>,
}

impl<'s> Place<'s> {
    /// The schema under these keys.
    pub(super) fn at(&self, keys: &[&str], schema: &'s Value) -> Self {
        let mut name = self.name.to_string();
        for key in keys {
            push_segment(&mut name, key);
        }
        Self { schema, name: name.into(), base: self.base.clone() }
    }

    /// Another document is needed.
    pub(super) fn missing(&self, keyword: &str, uri: &str) -> Refusal {
        let refusal = self.refuse(keyword, format!("refers to {uri}, which was not supplied along with the schema"));
        Refusal { missing: Some(uri.to_owned()), ..refusal }
    }

    /// Tells schemas apart.
    pub(super) fn address(&self) -> usize {
        std::ptr::from_ref(self.schema).addr()
    }

    pub(super) fn refuse(&self, keyword: &str, reason: impl Into<String>) -> Refusal {
        Refusal::new(self.at(&[keyword], self.schema).name.to_string(), reason)
    }
}

/// Adds a key to a JSON Pointer (<https://www.rfc-editor.org/rfc/rfc6901#section-3>).
pub(super) fn push_segment(pointer: &mut String, key: &str) {
    pointer.push('/');
    pointer.push_str(&key.replace('~', "~0").replace('/', "~1"));
}

/// All documents, and what is where in them.
pub(super) struct Documents<'s> {
    pub(super) root: Place<'s>,
    resources: HashMap<Rc<str>, Place<'s>>,
    anchors: HashMap<(Rc<str>, String), Place<'s>>,
    /// The dynamic anchors of a schema resource.
    dynamic: HashMap<Rc<str>, BTreeMap<String, Place<'s>>>,
    dynamic_anchors: usize,
    /// Every schema that is known to be one, by its address.
    places: HashMap<usize, Place<'s>>,
    /// Whether a reference may find a schema where no keyword says that there is one.
    anywhere: bool,
}

impl<'s> Documents<'s> {
    /// `anywhere`: whether a reference may find a schema where no keyword says that there is one. What was translated
    /// has none there: it was not looked at.
    pub(super) fn new(
        definition: &'s Value,
        resources: &'s BTreeMap<String, Value>,
        anywhere: bool,
    ) -> Result<Self, Refusal> {
        let root = Place { schema: definition, name: "".into(), base: ROOT.into() };
        let mut documents = Self {
            root: root.clone(),
            resources: HashMap::new(),
            anchors: HashMap::new(),
            dynamic: HashMap::new(),
            dynamic_anchors: 0,
            places: HashMap::new(),
            anywhere,
        };
        for meta in [
            &*meta::DRAFT202012,
            &*meta::DRAFT202012_CORE,
            &*meta::DRAFT202012_APPLICATOR,
            &*meta::DRAFT202012_UNEVALUATED,
            &*meta::DRAFT202012_VALIDATION,
            &*meta::DRAFT202012_META_DATA,
            &*meta::DRAFT202012_FORMAT_ANNOTATION,
            &*meta::DRAFT202012_FORMAT_ASSERTION,
            &*meta::DRAFT202012_CONTENT,
        ] {
            let name = meta["$id"].as_str().unwrap_or_default();
            documents.add(name, meta)?;
        }
        for (name, document) in resources {
            documents.add(name, document)?;
        }
        documents.resources.insert(root.base.clone(), root.clone());
        documents.walk(root)?;
        documents.root = documents.places[&std::ptr::from_ref(definition).addr()].clone();
        Ok(documents)
    }

    fn add(&mut self, name: &str, document: &'s Value) -> Result<(), Refusal> {
        let refuse = |reason: String| Refusal::new(format!("{name}#"), reason);
        let uri = Uri::parse(name).map_err(|error| refuse(format!("is no absolute URI: {error}")))?;
        let uri: Rc<str> = uri.normalize().as_str().trim_end_matches('#').into();
        let place = Place { schema: document, name: format!("{name}#").into(), base: uri.clone() };
        if self.resources.insert(uri, place.clone()).is_some() {
            return Err(refuse("is there already".into()));
        }
        self.walk(place)
    }

    /// Finds the schemas in a schema.
    fn walk(&mut self, mut place: Place<'s>) -> Result<(), Refusal> {
        let Value::Object(schema) = place.schema else {
            self.places.insert(place.address(), place);
            return Ok(());
        };
        if let Some(id) = schema.get("$id").and_then(Value::as_str) {
            let base = resolve(&place.base, id.trim_end_matches('#')).map_err(|reason| place.refuse("$id", reason))?;
            place.base = base.into();
            let known = self.resources.insert(place.base.clone(), place.clone());
            if known.is_some_and(|known| known.address() != place.address()) {
                return Err(place.refuse("$id", "another schema has this URI"));
            }
        }
        for keyword in ["$anchor", "$dynamicAnchor"] {
            let Some(anchor) = schema.get(keyword).and_then(Value::as_str) else { continue };
            let known = self.anchors.insert((place.base.clone(), anchor.to_owned()), place.clone());
            if known.is_some_and(|known| known.address() != place.address()) {
                return Err(place.refuse(keyword, "another schema has this anchor"));
            }
            if keyword == "$dynamicAnchor" {
                self.dynamic_anchors += 1;
                if self.dynamic_anchors > MAX_DYNAMIC_ANCHORS {
                    return Err(place.refuse(keyword, format!("there are more than {MAX_DYNAMIC_ANCHORS} of them")));
                }
                self.dynamic.entry(place.base.clone()).or_default().insert(anchor.to_owned(), place.clone());
            }
        }
        self.places.insert(place.address(), place.clone());
        for (keyword, value) in schema {
            match value {
                Value::Object(named) if NAMED.contains(&keyword.as_str()) => {
                    for (name, schema) in named {
                        self.walk(place.at(&[keyword, name], schema))?;
                    }
                }
                Value::Array(list) if LIST.contains(&keyword.as_str()) => {
                    for (n, schema) in list.iter().enumerate() {
                        self.walk(place.at(&[keyword, &n.to_string()], schema))?;
                    }
                }
                _ if ONE.contains(&keyword.as_str()) => self.walk(place.at(&[keyword], value))?,
                _ => {}
            }
        }
        Ok(())
    }

    /// The place of a schema under these keys of another, with its own base where it has an `$id`.
    pub(super) fn child(&self, place: &Place<'s>, keys: &[&str], schema: &'s Value) -> Place<'s> {
        let known = self.places.get(&std::ptr::from_ref(schema).addr());
        known.cloned().unwrap_or_else(|| place.at(keys, schema))
    }

    /// What a `$ref` means.
    pub(super) fn resolve(&mut self, from: &Place<'s>, keyword: &str, reference: &str) -> Result<Place<'s>, Refusal> {
        let refuse = |reason: String| from.refuse(keyword, reason);
        let (uri, fragment) = reference.split_once('#').unwrap_or((reference, ""));
        let uri: Rc<str> =
            if uri.is_empty() { from.base.clone() } else { resolve(&from.base, uri).map_err(refuse)?.into() };
        let Some(resource) = self.resources.get(&uri).cloned() else {
            return Err(from.missing(keyword, &uri));
        };
        let fragment =
            percent_decode_str(fragment).decode_utf8().map_err(|_| refuse("has a fragment that is no UTF-8".into()))?;
        if fragment.is_empty() {
            return Ok(resource);
        }
        if !fragment.starts_with('/') {
            let found = self.anchors.get(&(uri, fragment.clone().into_owned()));
            return found
                .cloned()
                .ok_or_else(|| refuse(format!("refers to the anchor {fragment}, which is not there")));
        }
        let mut place = resource;
        for segment in fragment.split('/').skip(1) {
            let key = unescape_segment(segment);
            let value = match place.schema {
                Value::Array(list) => key.parse::<usize>().ok().and_then(|n| list.get(n)),
                other => other.get(&*key),
            };
            let value = value.ok_or_else(|| refuse(format!("refers to {reference}, where nothing is")))?;
            place = self.child(&place, &[&key], value);
        }
        if !self.places.contains_key(&place.address()) {
            if !self.anywhere {
                return Err(refuse(format!("refers to {reference}, where its draft has no schema")));
            }
            self.walk(place.clone())?;
        }
        Ok(place)
    }

    /// The schemas that are none of a meta-schema of the draft.
    pub(super) fn supplied(&self) -> impl Iterator<Item = &Place<'s>> {
        self.places.values().filter(|place| !place.name.starts_with("https://json-schema.org/draft/2020-12/"))
    }

    pub(super) fn is_schema(&self, value: &Value) -> bool {
        self.places.contains_key(&std::ptr::from_ref(value).addr())
    }

    /// The dynamic anchors of the resource that a schema belongs to.
    pub(super) fn dynamic_anchors(&self, base: &str) -> Option<&BTreeMap<String, Place<'s>>> {
        self.dynamic.get(base)
    }

    /// The schema resource of this URI.
    pub(super) fn resource(&self, uri: &str) -> Option<&Place<'s>> {
        self.resources.get(uri.trim_end_matches('#'))
    }
}

fn resolve(base: &str, reference: &str) -> Result<String, String> {
    let base = Uri::parse(base).map_err(|error| format!("stands under {base}, which is no URI: {error}"))?;
    let uri = uri::resolve_against(&base, reference).map_err(|error| error.to_string())?;
    Ok(uri.as_str().trim_end_matches('#').to_owned())
}
