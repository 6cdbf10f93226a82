//! No files import each other in a circle.
//!
//! A file depends on the file that *defines* what it names: re-exports (`pub use`) are followed, and are themselves names and no
//! imports, so that a folder's `mod.rs` may publish what its files define. Tests inside a file are not looked at.

use std::collections::{BTreeMap, BTreeSet};

use proc_macro2::{TokenStream, TokenTree};
use syn::visit::Visit;

use crate::source::{Source, sources};

/// What a module declares: where its text stands and which names it knows.
#[derive(Default)]
struct Module {
    file: String,
    /// Names of functions, types, traits, constants and macros that are defined in it.
    defined: BTreeSet<String>,
    /// The path behind each name that `use` brings in.
    used: BTreeMap<String, Vec<String>>,
    /// The paths of `use …::*`.
    globs: Vec<Vec<String>>,
    /// Every path in its program.
    named: BTreeSet<Vec<String>>,
}

/// A crate: each module by its path from the root.
type Modules = BTreeMap<Vec<String>, Module>;

/// The modules below one `lib.rs`, by the `mod` declarations of its files.
fn modules(all: &[Source], root: &str) -> Modules {
    let mut found = Modules::new();
    let mut open = vec![(Vec::new(), format!("{root}/lib.rs"))];
    while let Some((path, file)) = open.pop() {
        let source = all.iter().find(|source| source.path == file);
        let source = source.unwrap_or_else(|| panic!("{path:?} is declared, and {file} is missing"));
        let parsed = syn::parse_file(&source.text).unwrap_or_else(|error| panic!("{file}: {error}"));
        enter(&mut found, &mut open, all, root, path, &file, &parsed.items);
    }
    found
}

/// Enters one module, inline modules included, and opens the files of those that it declares.
fn enter(
    found: &mut Modules,
    open: &mut Vec<(Vec<String>, String)>,
    all: &[Source],
    root: &str,
    path: Vec<String>,
    file: &str,
    items: &[syn::Item],
) {
    let mut module = Module { file: file.to_owned(), ..Module::default() };
    for item in items.iter().filter(|item| !for_tests(attributes(item))) {
        if let syn::Item::Mod(inner) = item {
            let mut child = path.clone();
            child.push(inner.ident.to_string());
            match &inner.content {
                Some((_, items)) => enter(found, open, all, root, child, file, items),
                None => {
                    let at = format!("{root}/{}", child.join("/"));
                    let single = format!("{at}.rs");
                    let exists = all.iter().any(|source| source.path == single);
                    open.push((child, if exists { single } else { format!("{at}/mod.rs") }));
                }
            }
            continue;
        }
        if let syn::Item::Use(used) = item {
            let imported = matches!(used.vis, syn::Visibility::Inherited);
            spread(&used.tree, &mut Vec::new(), imported, &mut module);
            continue;
        }
        module.defined.extend(defined(item));
        if let syn::Item::Macro(made) = item {
            module.defined.extend(structs(made.mac.tokens.clone()));
        }
        Paths(&mut module.named).visit_item(item);
    }
    found.insert(path, module);
}

fn attributes(item: &syn::Item) -> &[syn::Attribute] {
    match item {
        syn::Item::Const(it) => &it.attrs,
        syn::Item::Enum(it) => &it.attrs,
        syn::Item::Fn(it) => &it.attrs,
        syn::Item::Impl(it) => &it.attrs,
        syn::Item::Macro(it) => &it.attrs,
        syn::Item::Mod(it) => &it.attrs,
        syn::Item::Static(it) => &it.attrs,
        syn::Item::Struct(it) => &it.attrs,
        syn::Item::Trait(it) => &it.attrs,
        syn::Item::Type(it) => &it.attrs,
        syn::Item::Use(it) => &it.attrs,
        _ => &[],
    }
}

fn for_tests(attributes: &[syn::Attribute]) -> bool {
    attributes.iter().any(|attribute| match &attribute.meta {
        syn::Meta::List(list) => list.path.is_ident("cfg") && list.tokens.to_string().starts_with("test"),
        syn::Meta::Path(path) => path.is_ident("test"),
        syn::Meta::NameValue(_) => false,
    })
}

fn defined(item: &syn::Item) -> Option<String> {
    let ident = match item {
        syn::Item::Const(it) => &it.ident,
        syn::Item::Enum(it) => &it.ident,
        syn::Item::Fn(it) => &it.sig.ident,
        syn::Item::Macro(it) => it.ident.as_ref()?,
        syn::Item::Static(it) => &it.ident,
        syn::Item::Struct(it) => &it.ident,
        syn::Item::Trait(it) => &it.ident,
        syn::Item::Type(it) => &it.ident,
        _ => return None,
    };
    Some(ident.to_string())
}

/// The structs that a macro such as `ports!` is told to define.
fn structs(tokens: TokenStream) -> Vec<String> {
    let words: Vec<String> = tokens.into_iter().map(|token| token.to_string()).collect();
    words.windows(2).filter(|pair| pair[0] == "struct").map(|pair| pair[1].clone()).collect()
}

/// The names and paths of one `use`; what is imported for the module's own sake is also something that it names.
fn spread(tree: &syn::UseTree, before: &mut Vec<String>, imported: bool, module: &mut Module) {
    let mut leaf = |name: String, before: &[String], last: Option<String>| {
        // `{self}` imports a module, whatever else has its name.
        let names_an_item = imported && last.is_some();
        let path: Vec<String> = before.iter().cloned().chain(last).collect();
        if names_an_item {
            module.named.insert(path.clone());
        }
        module.used.insert(name, path);
    };
    match tree {
        syn::UseTree::Path(path) => {
            before.push(path.ident.to_string());
            spread(&path.tree, before, imported, module);
            before.pop();
        }
        syn::UseTree::Group(group) => group.items.iter().for_each(|tree| spread(tree, before, imported, module)),
        syn::UseTree::Name(name) if name.ident == "self" => {
            leaf(before.last().cloned().unwrap_or_default(), before, None)
        }
        syn::UseTree::Name(name) => leaf(name.ident.to_string(), before, Some(name.ident.to_string())),
        syn::UseTree::Rename(renamed) if renamed.ident == "self" => leaf(renamed.rename.to_string(), before, None),
        syn::UseTree::Rename(renamed) => leaf(renamed.rename.to_string(), before, Some(renamed.ident.to_string())),
        syn::UseTree::Glob(_) => module.globs.push(before.clone()),
    }
}

/// Collects every path of a piece of program; in the arguments of macros, everything that looks like one.
struct Paths<'a>(&'a mut BTreeSet<Vec<String>>);

impl<'ast> Visit<'ast> for Paths<'_> {
    fn visit_path(&mut self, path: &'ast syn::Path) {
        if path.leading_colon.is_none() {
            self.0.insert(path.segments.iter().map(|segment| segment.ident.to_string()).collect());
        }
        syn::visit::visit_path(self, path);
    }

    fn visit_macro(&mut self, call: &'ast syn::Macro) {
        self.visit_path(&call.path);
        self.tokens(call.tokens.clone());
    }

    fn visit_impl_item_fn(&mut self, function: &'ast syn::ImplItemFn) {
        if !for_tests(&function.attrs) {
            syn::visit::visit_impl_item_fn(self, function);
        }
    }
}

impl Paths<'_> {
    fn tokens(&mut self, tokens: TokenStream) {
        let mut path: Vec<String> = Vec::new();
        let mut colons = 0;
        for token in tokens {
            match token {
                TokenTree::Ident(ident) if colons == 2 => path.push(ident.to_string()),
                TokenTree::Ident(ident) => {
                    self.0.insert(std::mem::replace(&mut path, vec![ident.to_string()]));
                }
                TokenTree::Punct(punct) if punct.as_char() == ':' => {
                    colons += 1;
                    continue;
                }
                TokenTree::Group(group) => self.tokens(group.stream()),
                _ => {
                    self.0.insert(std::mem::take(&mut path));
                }
            }
            colons = 0;
        }
        self.0.insert(path);
    }
}

/// The file that defines what `path` names inside `module`; none for a module itself and for other crates.
fn definer<'a>(modules: &'a Modules, module: &[String], path: &[String], depth: usize) -> Option<&'a str> {
    let (first, rest) = path.split_first()?;
    // A name that stands for itself through other names.
    if depth > 16 {
        return None;
    }
    match first.as_str() {
        "crate" => return definer_in(modules, &[], rest, depth),
        "self" => return definer_in(modules, module, rest, depth),
        "super" => {
            let (_, above) = module.split_last()?;
            return match rest.first().is_some_and(|next| next == "super") {
                true => definer(modules, above, rest, depth + 1),
                false => definer_in(modules, above, rest, depth),
            };
        }
        _ => {}
    }
    definer_in(modules, module, path, depth)
}

/// As `definer`, for a path that begins with a name of the module.
fn definer_in<'a>(modules: &'a Modules, module: &[String], path: &[String], depth: usize) -> Option<&'a str> {
    let (first, rest) = path.split_first()?;
    let here = modules.get(module)?;
    let mut child = module.to_vec();
    child.push(first.clone());
    // A module and a function may have one name: where the path goes on, the module is meant.
    if !rest.is_empty() && modules.contains_key(&child) {
        return definer_in(modules, &child, rest, depth);
    }
    if here.defined.contains(first) {
        return Some(&here.file);
    }
    if let Some(used) = here.used.get(first) {
        // `use serde::Serialize` names another crate, and not itself.
        let longer: Vec<String> = used.iter().chain(rest).cloned().collect();
        return match used[..] == path[..1] {
            true => None,
            false => definer(modules, module, &longer, depth + 1),
        };
    }
    here.globs.iter().find_map(|glob| {
        let longer: Vec<String> = glob.iter().chain(path).cloned().collect();
        definer(modules, module, &longer, depth + 1)
    })
}

/// For each file the files that it depends on, with a name that it takes from each.
type Edges<'a> = BTreeMap<&'a str, BTreeMap<&'a str, BTreeSet<String>>>;

fn edges(modules: &Modules) -> Edges<'_> {
    let mut found = Edges::new();
    for (path, module) in modules {
        for named in &module.named {
            if let Some(file) = definer(modules, path, named, 0).filter(|file| *file != module.file) {
                found.entry(&module.file).or_default().entry(file).or_default().insert(named.join("::"));
            }
        }
    }
    found
}

/// Everything that a file reaches.
fn reached<'a>(edges: &Edges<'a>, from: &'a str) -> BTreeSet<&'a str> {
    let mut found = BTreeSet::new();
    let mut open = vec![from];
    while let Some(file) = open.pop() {
        for next in edges.get(file).into_iter().flat_map(BTreeMap::keys) {
            if found.insert(*next) {
                open.push(next);
            }
        }
    }
    found
}

/// The groups of files that reach each other, each import inside them on a line.
fn circles(edges: &Edges<'_>) -> Vec<String> {
    let reached: BTreeMap<&str, BTreeSet<&str>> = edges.keys().map(|file| (*file, reached(edges, file))).collect();
    let mut told = BTreeSet::new();
    let mut found = Vec::new();
    for (file, below) in &reached {
        let both = |other: &&&str| reached.get(**other).is_some_and(|back| back.contains(file));
        let group: BTreeSet<&str> = below.iter().filter(both).copied().collect();
        if group.is_empty() || !told.insert(group.clone()) {
            continue;
        }
        let mut lines = String::new();
        for (from, to, names) in
            group.iter().flat_map(|from| edges[from].iter().map(move |(to, names)| (from, to, names)))
        {
            if group.contains(to) {
                let names: Vec<&str> = names.iter().map(String::as_str).collect();
                lines += &format!("\n  {from} uses {} of {to}", names.join(", "));
            }
        }
        found.push(lines);
    }
    found
}

#[test]
fn no_files_import_each_other_in_a_circle() {
    for root in ["pipeline/src", "stages/src"] {
        let all = sources(root, &["rs"]);
        let modules = modules(&all, root);
        let found = circles(&edges(&modules));
        let message = "move what they share into a file below them";
        assert!(
            found.is_empty(),
            "{} groups of files import each other in a circle: {message}\n{}",
            found.len(),
            found.join("\n")
        );
    }
}

/// The folders of a stage whose files are sorted into rooms.
const SORTED: [&str; 3] = ["stages/src/ingest/", "stages/src/nn/", "stages/src/report/"];

#[test]
fn no_rooms_use_each_other_in_a_circle() {
    let all = sources("stages/src", &["rs"]);
    let modules = modules(&all, "stages/src");
    for folder in SORTED {
        let room = |file: &str| Some(file.strip_prefix(folder)?.split_once('/')?.0.to_owned());
        let mut rooms: BTreeMap<String, BTreeMap<String, BTreeSet<String>>> = BTreeMap::new();
        for (from, to) in edges(&modules).iter().flat_map(|(from, to)| to.keys().map(move |to| (*from, *to))) {
            if let (Some(one), Some(other)) = (room(from), room(to))
                && one != other
            {
                rooms.entry(one).or_default().entry(other).or_default().insert(format!("{from} -> {to}"));
            }
        }
        assert!(!rooms.is_empty(), "{folder} has no rooms that use each other");
        let borrowed: Edges =
            rooms.iter().map(|(from, to)| (&**from, to.iter().map(|(to, by)| (&**to, by.clone())).collect())).collect();
        let found = circles(&borrowed);
        assert!(found.is_empty(), "rooms of {folder} use each other in a circle: {}", found.join("\n"));
    }
}

#[test]
fn a_circle_is_found_through_re_exports_and_macros_and_not_in_tests() {
    let file = |path: &str, text: &str| Source { path: path.to_owned(), text: text.to_owned() };
    let found = |of_b: &str| {
        let all = [
            file("x/lib.rs", "mod a;\nmod b;\npub use b::deep::Below;\npub use a::Above;"),
            file("x/a.rs", "use crate::Below;\npub struct Above(Below);"),
            file("x/b/mod.rs", "pub mod deep;"),
            file("x/b/deep.rs", of_b),
        ];
        circles(&edges(&modules(&all, "x")))
    };
    assert_eq!(found("pub struct Below;").len(), 0);
    assert_eq!(found("pub struct Below;\nfn f() -> crate::Above { loop {} }").len(), 1);
    assert_eq!(found("pub struct Below;\nfn f() { println!(\"{}\", crate::a::Above::N) }").len(), 1);
    assert_eq!(found("pub struct Below;\n#[cfg(test)]\nmod tests { use crate::Above; }").len(), 0);
    assert_eq!(found("use crate::*;\npub struct Below;\nfn f(x: Above) {}").len(), 1);
}
