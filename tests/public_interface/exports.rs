//! The names that a crate's root exports, with the modules in which it does.

use std::path::Path;

use syn::{Item, UseTree, Visibility};

pub(crate) struct Export {
    /// The module: `windows`, or `the root`.
    pub(crate) path: String,
    pub(crate) name: String,
}

/// Names in the order of the source; modules are listed after the root.
pub(crate) fn of(root: &Path) -> Vec<Export> {
    let text = std::fs::read_to_string(root.join("lib.rs")).unwrap();
    let file = syn::parse_file(&text).unwrap();
    let mut found = Vec::new();
    module("the root", &file.items, root, &mut found);
    found
}

fn module(path: &str, items: &[Item], root: &Path, found: &mut Vec<Export>) {
    let mut modules = Vec::new();
    for item in items {
        match item {
            // What only a feature for tests of Headwater itself adds is no promise.
            Item::Use(item) if is_public(&item.vis) && item.attrs.is_empty() => {
                for name in leaves(&item.tree, root) {
                    found.push(Export { path: path.to_owned(), name });
                }
            }
            Item::Mod(item) if is_public(&item.vis) => modules.push(item),
            _ => {}
        }
    }
    for item in modules {
        let name = item.ident.to_string();
        match &item.content {
            Some((_, items)) => module(&name, items, root, found),
            None => in_a_file(&name, root, found),
        }
    }
}

/// A module in a file of its own exports what it defines in public, and what it exports itself.
fn in_a_file(name: &str, root: &Path, found: &mut Vec<Export>) {
    let Some(items) = read_module(root, name) else { return };
    for name_in in defined(&items) {
        found.push(Export { path: name.to_owned(), name: name_in });
    }
    module(name, &items, root, found);
}

fn read_module(root: &Path, name: &str) -> Option<Vec<Item>> {
    let places = [root.join(format!("{name}.rs")), root.join(name).join("mod.rs")];
    let text = places.iter().find_map(|path| std::fs::read_to_string(path).ok())?;
    Some(syn::parse_file(&text).unwrap().items)
}

/// The names at the ends of a `use`, with those that a `*` stands for.
fn leaves(tree: &UseTree, root: &Path) -> Vec<String> {
    let mut found = Vec::new();
    walk(tree, &mut Vec::new(), root, &mut found);
    found
}

fn walk(tree: &UseTree, path: &mut Vec<String>, root: &Path, found: &mut Vec<String>) {
    match tree {
        UseTree::Path(inner) => {
            path.push(inner.ident.to_string());
            walk(&inner.tree, path, root, found);
            path.pop();
        }
        UseTree::Name(name) => found.push(name.ident.to_string()),
        UseTree::Rename(rename) => found.push(rename.ident.to_string()),
        UseTree::Group(group) => {
            for tree in &group.items {
                walk(tree, path, root, found);
            }
        }
        UseTree::Glob(_) => found.extend(glob(path, root)),
    }
}

/// What `streams_core::agent::*` stands for.
fn glob(path: &[String], root: &Path) -> Vec<String> {
    let [from, module] = path else { panic!("`*` of {path:?}: name what is exported") };
    let folder = from.replace('_', "-");
    let source = root.join("../..").join(folder).join("src");
    let items = read_module(&source, module).unwrap_or_else(|| panic!("no module {module}"));
    let mut names = defined(&items);
    for item in &items {
        if let Item::Use(item) = item
            && is_public(&item.vis)
        {
            names.extend(leaves(&item.tree, &source));
        }
    }
    names
}

fn defined(items: &[Item]) -> Vec<String> {
    let names = items.iter().filter_map(|item| match item {
        Item::Struct(item) if is_public(&item.vis) => Some(item.ident.to_string()),
        Item::Enum(item) if is_public(&item.vis) => Some(item.ident.to_string()),
        Item::Trait(item) if is_public(&item.vis) => Some(item.ident.to_string()),
        Item::Type(item) if is_public(&item.vis) => Some(item.ident.to_string()),
        Item::Const(item) if is_public(&item.vis) => Some(item.ident.to_string()),
        Item::Fn(item) if is_public(&item.vis) => Some(item.sig.ident.to_string()),
        _ => None,
    });
    names.collect()
}

pub(crate) fn is_public(visibility: &Visibility) -> bool {
    matches!(visibility, Visibility::Public(_))
}
