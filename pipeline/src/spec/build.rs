//! From stages as written to nodes: bindings, cells, and one checked config for each cell.

use super::config::read_config;
use super::cycle::Cycles;
use super::inputs::{PortBinding, Reference, Scope, bindings};
use super::node::{Edge, Node};
use super::reindexing::Reindexing;
use super::search::Search;
use super::stage_block::StageBlock;
use super::stage_decl::StageDecl;
use super::subject::Subject;
use super::sweep::{self, Cell, JoinSide};
use super::tree::{Data, Entry, Tree};
use super::{SecretUse, leakage, port_rules, requirements, secrets};
use crate::diagnostic::{Diagnostic, MOST, Span, listed};
use crate::{AnyStage, Arity, Catalog, StageKind};

/// A short file can multiply sweeps into any size; these are more stages, and more connections between them, than anybody
/// waits for.
const MOST_NODES: usize = 100_000;
const MOST_EDGES: usize = 1_000_000;

/// Builds all nodes in reading order. When a fault was reported, the result is of no use beyond finding more faults.
pub(crate) fn nodes(
    stages: &[Entry],
    assets: &[&str],
    catalog: &'static Catalog,
    errors: &mut Vec<Diagnostic>,
) -> Vec<Node> {
    let mut above: Vec<StageDecl> = Vec::new();
    let mut nodes = Vec::new();
    let mut reindexed_by = Vec::new();
    let cycles = Cycles::of(stages);
    // Faults of what is connected with what: they leave every node to its place.
    let mut reported = 0;
    let (mut count, mut edges_made) = (0, 0);
    for entry in stages {
        if errors.len() > MOST {
            break;
        }
        let block = StageBlock::read(entry, catalog, errors);
        let bindings = bindings(&block, &Scope { above: &above, written: stages, cycles: &cycles }, errors);
        let cells = sweep::join(&sides(&block, &bindings, &above), errors);
        edges_made += cells.len() * bindings.iter().map(|binding| width(binding, &above)).sum::<usize>();
        if count + cells.len() > MOST_NODES || edges_made > MOST_EDGES {
            let message = format!("with `{}` the sweeps make too many stages, or connections between them", block.name);
            let most = format!("{MOST_NODES} stages and {MOST_EDGES} connections are the most: sweep fewer values");
            errors.push(Diagnostic::at(block.name_span, message).help(most));
            break;
        }
        if let Some(kind) = block.kind.filter(|_| !block.with_broken) {
            for cell in &cells {
                if errors.len() > MOST {
                    break;
                }
                let Some((config, with, secrets)) = config(&block, kind, cell, assets, errors) else { continue };
                let inputs: Vec<(String, Vec<Edge>)> = bindings
                    .iter()
                    .map(|binding| (binding.port.name.to_owned(), edges(binding, cell, &above, kind.joins_cells)))
                    .collect();
                if !block.inputs_broken {
                    let wanted = config.requirements();
                    errors.extend(
                        wanted
                            .iter()
                            .filter_map(|requirement| requirements::fault(&block, requirement, &with, &inputs)),
                    );
                }
                // After a fault above, edges may point at nodes that were not made.
                if errors.len() == reported {
                    let rules = config.no_leakage();
                    errors.extend(
                        rules.iter().find_map(|rule| leakage::fault(block.name, rule, &inputs, &bindings, &nodes)),
                    );
                    let rules = config.forbidden_sources();
                    errors.extend(rules.iter().find_map(|rule| port_rules::fault(block.name, rule, &bindings, &above)));
                    let reindexing = Reindexing { above: &nodes, by: &reindexed_by };
                    errors.extend(reindexing.faults(block.name, &inputs, &bindings));
                    reindexed_by.push(reindexing.of(kind, &inputs, &bindings));
                    reported = errors.len();
                }
                let cell = sweep::name(cell);
                let id = if cell.is_empty() { block.name.to_owned() } else { format!("{}@{cell}", block.name) };
                let (stage, device, resources) = (block.name.to_owned(), block.device, block.resources.clone());
                nodes.push(Node { id, stage, cell, kind, device, resources, config, secrets, inputs });
            }
        }
        let first = count;
        count += cells.len();
        above.push(StageDecl { name: block.name.to_owned(), kind: block.kind, cells, first });
    }
    nodes
}

/// How many artifacts flow into a port of one cell.
fn width(binding: &PortBinding, above: &[StageDecl]) -> usize {
    let of =
        |reference: &Reference| if binding.port.arity == Arity::Many { above[reference.stage].cells.len() } else { 1 };
    binding.references.iter().map(of).sum()
}

/// The sweeps that meet in a stage: those of the stages it follows, then its own.
fn sides(block: &StageBlock, bindings: &[PortBinding], above: &[StageDecl]) -> Vec<JoinSide> {
    let followed =
        bindings.iter().filter(|binding| binding.port.arity != Arity::Many).flat_map(|binding| &binding.references);
    let swept = followed.filter(|reference| above[reference.stage].cells.iter().any(|cell| !cell.is_empty()));
    let follow =
        |decl: &StageDecl, span| JoinSide { what: format!("`{}`", decl.name), span, cells: decl.cells.clone() };
    let mut sides: Vec<JoinSide> = swept.map(|reference| follow(&above[reference.stage], reference.span)).collect();
    sides.extend(block.axes.iter().map(JoinSide::of));
    sides.extend(block.search.iter().map(Search::side));
    sides
}

fn edges(binding: &PortBinding, cell: &Cell, above: &[StageDecl], joins: bool) -> Vec<Edge> {
    let many = binding.port.arity == Arity::Many;
    let taken = |part: &Cell| match (many, joins) {
        (false, _) => sweep::contains(cell, part),
        (true, false) => true,
        (true, true) => sweep::fit(cell, part),
    };
    let of = |reference: &Reference| {
        let decl = &above[reference.stage];
        let cells = decl.cells.iter().enumerate().filter(|(_, part)| taken(part));
        let edge = |(at, part): (usize, &Cell)| Edge {
            name: reference.name.clone(),
            cell: sweep::name(part),
            node: decl.first + at,
            port: reference.output,
        };
        cells.map(edge).collect::<Vec<_>>()
    };
    binding.references.iter().flat_map(of).collect()
}

fn config(
    block: &StageBlock,
    kind: &'static StageKind,
    cell: &Cell,
    assets: &[&str],
    errors: &mut Vec<Diagnostic>,
) -> Option<(Box<dyn AnyStage>, Tree, Vec<SecretUse>)> {
    let span = block.span_of(block.with);
    let empty = Tree { span, data: Data::Map(Vec::new()) };
    let mut tree = block.with.map_or(empty, |entry| entry.value.clone());
    let swept = block.axes.iter().filter_map(|axis| {
        let mut values = axis.values.iter();
        let chosen = values.find(|(label, _)| cell.iter().any(|at| at.key == axis.key && at.label == *label));
        chosen.map(|(_, value)| (axis.key, axis.key_span, *value))
    });
    let searched = block.search.iter().flat_map(|search| search.values(cell));
    for (path, place, value) in swept.chain(searched) {
        if let Err(fault) = put(&mut tree, path, place, value) {
            errors.push(*fault);
            return None;
        }
    }
    let what = format!("the config of {}", kind.kind);
    let subject = Subject { what: &what, key_span: span, schema: &|generator| (kind.schema)(generator) };
    let config = read_config(&subject, tree.clone(), kind.parse, errors)?;
    let secrets = secrets::find(&subject, &tree, errors);
    for asset in config.assets() {
        let name = asset.0.as_str();
        if !assets.contains(&name) {
            let fault = Diagnostic::at(find(&tree, name).unwrap_or(span), format!("there is no asset `{name}`"));
            errors.push(fault.suggest(name, assets.iter().copied(), || match assets {
                [] => format!("name it at the top: `assets: {{ {name}: {{ from: [ … ] }} }}`"),
                _ => format!("the assets are {}", listed(assets.iter().copied())),
            }));
        }
    }
    Some((config, tree, secrets))
}

/// Puts one value of a sweep or a search at its path, making the mappings on the way.
fn put(tree: &mut Tree, path: &str, place: Span, value: &Tree) -> Result<(), Box<Diagnostic>> {
    let mut here = tree;
    let mut done = String::new();
    for key in path.split('.') {
        if here.is_null() {
            here.data = Data::Map(Vec::new());
        }
        let noun = here.noun();
        let Data::Map(entries) = &mut here.data else {
            let message = format!("`{done}` is {noun}, so there is no `{path}` to sweep");
            return Err(Diagnostic::at(place, message).into());
        };
        let at = entries.iter().position(|entry| entry.key == key).unwrap_or_else(|| {
            let empty = Tree { span: place, data: Data::Map(Vec::new()) };
            entries.push(Entry { key: key.to_owned(), key_span: place, value: empty });
            entries.len() - 1
        });
        done = if done.is_empty() { key.to_owned() } else { format!("{done}.{key}") };
        here = &mut entries[at].value;
    }
    *here = value.clone();
    Ok(())
}

/// The first place of a text in a tree.
fn find(tree: &Tree, text: &str) -> Option<Span> {
    match &tree.data {
        Data::Scalar(_) => (tree.text() == Some(text)).then_some(tree.span),
        Data::List(items) => items.iter().find_map(|item| find(item, text)),
        Data::Map(entries) => entries.iter().find_map(|entry| find(&entry.value, text)),
    }
}
