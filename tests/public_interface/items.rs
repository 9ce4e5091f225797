//! Public items of sources, without bodies, documentation and what is private in them.

use std::collections::BTreeMap;

use syn::punctuated::Punctuated;
use syn::{Attribute, Block, Fields, ImplItem, Item, ItemImpl, TraitItem, Type, parse_quote};

use crate::exports::is_public;

/// By the items' names. A type's name is defined once in the workspace; see `tests/tidy`.
#[derive(Default)]
pub(crate) struct Items {
    definitions: BTreeMap<String, Vec<Item>>,
    impls: BTreeMap<String, Vec<ItemImpl>>,
    /// What `macro_rules!` with one type's name as `$kind` expand to.
    macros: BTreeMap<String, String>,
}

impl Items {
    pub(crate) fn add(&mut self, file: &syn::File) {
        for item in &file.items {
            self.add_item(item);
        }
    }

    fn add_item(&mut self, item: &Item) {
        if let Item::Mod(module) = item
            && let Some((_, items)) = &module.content
            && module.ident != "tests"
        {
            items.iter().for_each(|item| self.add_item(item));
        }
        if let Some(file) = self.expanded(item) {
            return self.add(&file);
        }
        let Some(item) = stripped(item) else { return };
        match item {
            Item::Impl(item) => {
                if let Some(name) = name_of(&item.self_ty) {
                    self.impls.entry(name).or_default().push(item);
                }
            }
            Item::Struct(ref named) => self.define(named.ident.to_string(), item),
            Item::Enum(ref named) => self.define(named.ident.to_string(), item),
            Item::Trait(ref named) => self.define(named.ident.to_string(), item),
            Item::Type(ref named) => self.define(named.ident.to_string(), item),
            Item::Const(ref named) => self.define(named.ident.to_string(), item),
            Item::Fn(ref named) => self.define(named.sig.ident.to_string(), item),
            Item::Mod(ref named) => self.define(named.ident.to_string(), item),
            _ => {}
        }
    }

    /// Learns the macros of a file. Those of all files are known before items are added.
    pub(crate) fn add_macros(&mut self, file: &syn::File) {
        for item in &file.items {
            let Item::Macro(item) = item else { continue };
            let Some(name) = &item.ident else { continue };
            let rule = item.mac.tokens.to_string();
            let body =
                rule.strip_prefix("($ kind : ident) => {").and_then(|rest| rest.rsplit_once('}'));
            if let Some((body, _)) = body {
                self.macros.insert(name.to_string(), body.to_owned());
            }
        }
    }

    fn expanded(&self, item: &Item) -> Option<syn::File> {
        let Item::Macro(item) = item else { return None };
        let body = self.macros.get(&item.mac.path.get_ident()?.to_string())?;
        let kind = item.mac.tokens.to_string();
        let text = body.replace("$ kind", &kind).replace("$ crate", "crate");
        Some(syn::parse_str(&text).unwrap_or_else(|error| panic!("{kind}: {error}: {text}")))
    }

    fn define(&mut self, name: String, item: Item) {
        self.definitions.entry(name).or_default().push(item);
    }

    /// The definition with its methods.
    pub(crate) fn stub(&self, name: &str) -> String {
        let definitions = self.definitions.get(name).into_iter().flatten().cloned();
        let impls = self.impls.get(name).into_iter().flatten().cloned().map(Item::Impl);
        let items = definitions.chain(impls).collect();
        prettyplease::unparse(&syn::File { shebang: None, attrs: Vec::new(), items })
    }
}

/// The item as its users see it; `None` if they do not.
fn stripped(item: &Item) -> Option<Item> {
    let mut item = item.clone();
    let is_seen = match &mut item {
        Item::Struct(item) => {
            keep_attributes(&mut item.attrs);
            keep_public(&mut item.fields);
            is_public(&item.vis)
        }
        Item::Enum(item) => {
            keep_attributes(&mut item.attrs);
            for variant in &mut item.variants {
                keep_attributes(&mut variant.attrs);
                variant.fields.iter_mut().for_each(|field| keep_attributes(&mut field.attrs));
            }
            is_public(&item.vis)
        }
        Item::Trait(item) => {
            keep_attributes(&mut item.attrs);
            item.items.iter_mut().for_each(strip_trait_item);
            is_public(&item.vis)
        }
        Item::Type(item) => {
            keep_attributes(&mut item.attrs);
            is_public(&item.vis)
        }
        Item::Const(item) => {
            keep_attributes(&mut item.attrs);
            *item.expr = parse_quote!(..);
            is_public(&item.vis)
        }
        Item::Fn(item) => {
            keep_attributes(&mut item.attrs);
            *item.block = no_body();
            is_public(&item.vis)
        }
        Item::Impl(item) => return strip_impl(item).map(Item::Impl),
        Item::Mod(item) => {
            keep_attributes(&mut item.attrs);
            item.content = None;
            item.semi = Some(Default::default());
            is_public(&item.vis)
        }
        _ => false,
    };
    is_seen.then_some(item)
}

/// Public methods of a type; of a trait's implementation that it is there.
fn strip_impl(item: &ItemImpl) -> Option<ItemImpl> {
    let mut item = item.clone();
    keep_attributes(&mut item.attrs);
    if item.trait_.is_some() {
        item.items.clear();
        return Some(item);
    }
    item.items.retain_mut(|inner| match inner {
        ImplItem::Fn(method) => {
            let is_hidden = method.attrs.iter().any(is_doc_hidden);
            keep_attributes(&mut method.attrs);
            method.block = no_body();
            is_public(&method.vis) && !is_hidden
        }
        ImplItem::Const(constant) => {
            keep_attributes(&mut constant.attrs);
            constant.expr = parse_quote!(..);
            is_public(&constant.vis)
        }
        _ => false,
    });
    (!item.items.is_empty()).then_some(item)
}

fn strip_trait_item(item: &mut TraitItem) {
    match item {
        TraitItem::Fn(method) => {
            keep_attributes(&mut method.attrs);
            // Whether it has a body is all that an implementor sees of it.
            if method.default.is_some() {
                method.default = Some(no_body());
            }
        }
        TraitItem::Type(inner) => keep_attributes(&mut inner.attrs),
        TraitItem::Const(inner) => keep_attributes(&mut inner.attrs),
        _ => {}
    }
}

fn keep_public(fields: &mut Fields) {
    match fields {
        Fields::Named(named) => {
            let all = std::mem::take(&mut named.named);
            named.named = all.into_iter().filter(|field| is_public(&field.vis)).collect();
            named.named.iter_mut().for_each(|field| keep_attributes(&mut field.attrs));
        }
        // Private values of a tuple have a place, and no name.
        Fields::Unnamed(unnamed) if unnamed.unnamed.iter().all(|field| is_public(&field.vis)) => {
            unnamed.unnamed.iter_mut().for_each(|field| keep_attributes(&mut field.attrs));
        }
        Fields::Unnamed(unnamed) => unnamed.unnamed = Punctuated::new(),
        Fields::Unit => {}
    }
}

/// Those that change what users may write.
fn keep_attributes(attributes: &mut Vec<Attribute>) {
    attributes.retain(|attribute| {
        ["derive", "non_exhaustive", "must_use", "cfg"]
            .iter()
            .any(|name| attribute.path().is_ident(name))
    });
    for attribute in attributes.iter_mut().filter(|attribute| attribute.path().is_ident("must_use"))
    {
        *attribute = parse_quote!(#[must_use]);
    }
}

fn is_doc_hidden(attribute: &Attribute) -> bool {
    let is_doc = attribute.path().is_ident("doc");
    let word = attribute.parse_args::<syn::Ident>();
    is_doc && word.is_ok_and(|word| word == "hidden")
}

fn no_body() -> Block {
    parse_quote!({})
}

fn name_of(of: &Type) -> Option<String> {
    match of {
        Type::Path(path) => path.path.segments.last().map(|segment| segment.ident.to_string()),
        Type::Reference(reference) => name_of(&reference.elem),
        _ => None,
    }
}
