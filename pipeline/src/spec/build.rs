//! From stages as written to nodes: wires, cells, and one checked config for each cell.

use super::apart;
use super::block::Block;
use super::config::{Subject, read_config};
use super::cycle::Cycles;
use super::inputs::{Feed, Scope, Wire, wires};
use super::numbering::Numbered;
use super::sweep::{self, Axis, Cell, Side};
use super::tree::{Data, Entry, Tree};
use super::unfit;
use super::{Link, Node, SecretUse, secrets, wants};
use crate::diagnostic::{Diagnostic, MOST, Span, listed};
use crate::{AnyStage, Arity, Catalog, StageKind};

/// A short file can multiply sweeps into any size; these are more stages, and more connections between them, than anybody
/// waits for.
const MOST_NODES: usize = 100_000;
const MOST_LINKS: usize = 1_000_000;

/// A stage that later ones can refer to.
pub(crate) struct Built {
    pub name: String,
    /// Absent when `use` is wrong; then nothing is said about its outputs.
    pub kind: Option<&'static StageKind>,
    cells: Vec<Cell>,
    /// The node of the first cell; the others follow.
    first: usize,
}

/// Builds all nodes in reading order. When a fault was reported, the result is of no use beyond finding more faults.
pub(crate) fn nodes(
    stages: &[Entry],
    assets: &[&str],
    catalog: &'static Catalog,
    errors: &mut Vec<Diagnostic>,
) -> Vec<Node> {
    let mut above: Vec<Built> = Vec::new();
    let mut nodes = Vec::new();
    let mut numberings = Vec::new();
    let cycles = Cycles::of(stages);
    // Faults of what is connected with what: they leave every node to its place.
    let mut told = 0;
    let (mut count, mut links_made) = (0, 0);
    for entry in stages {
        if errors.len() > MOST {
            break;
        }
        let block = Block::read(entry, catalog, errors);
        let wires = wires(&block, &Scope { above: &above, written: stages, cycles: &cycles }, errors);
        let cells = sweep::join(&sides(&block, &wires, &above), errors);
        links_made += cells.len() * wires.iter().map(|wire| width(wire, &above)).sum::<usize>();
        if count + cells.len() > MOST_NODES || links_made > MOST_LINKS {
            let message = format!("with `{}` the sweeps make too many stages, or connections between them", block.name);
            let most = format!("{MOST_NODES} stages and {MOST_LINKS} connections are the most: sweep fewer values");
            errors.push(Diagnostic::at(block.name_span, message).help(most));
            break;
        }
        if let Some(kind) = block.kind.filter(|_| !block.with_broken) {
            for cell in &cells {
                if errors.len() > MOST {
                    break;
                }
                let Some((config, with, secrets)) = config(&block, kind, cell, assets, errors) else { continue };
                let inputs: Vec<(String, Vec<Link>)> =
                    wires.iter().map(|wire| (wire.port.name.to_owned(), links(wire, cell, &above))).collect();
                if !block.inputs_broken {
                    let wanted = config.wants();
                    errors.extend(wanted.iter().filter_map(|wants| wants::fault(&block, wants, &with, &inputs)));
                }
                // After a fault above, links may point at nodes that were not made.
                if errors.len() == told {
                    let kept = config.apart();
                    errors.extend(kept.iter().find_map(|kept| apart::fault(block.name, kept, &inputs, &wires, &nodes)));
                    let unfit = config.unfit();
                    errors.extend(unfit.iter().find_map(|unfit| unfit::fault(block.name, unfit, &wires, &above)));
                    let numbered = Numbered { above: &nodes, by: &numberings };
                    errors.extend(numbered.faults(block.name, &inputs, &wires));
                    numberings.push(numbered.of(kind, &inputs, &wires));
                    told = errors.len();
                }
                let cell = sweep::name(cell);
                let id = if cell.is_empty() { block.name.to_owned() } else { format!("{}@{cell}", block.name) };
                let (stage, device) = (block.name.to_owned(), block.device);
                nodes.push(Node { id, stage, cell, kind, device, config, secrets, inputs });
            }
        }
        let first = count;
        count += cells.len();
        above.push(Built { name: block.name.to_owned(), kind: block.kind, cells, first });
    }
    nodes
}

/// How many artifacts flow into a port of one cell.
fn width(wire: &Wire, above: &[Built]) -> usize {
    let of = |feed: &Feed| if wire.port.arity == Arity::Many { above[feed.stage].cells.len() } else { 1 };
    wire.feeds.iter().map(of).sum()
}

/// The sweeps that meet in a stage: those of the stages it follows, then its own.
fn sides(block: &Block, wires: &[Wire], above: &[Built]) -> Vec<Side> {
    let followed = wires.iter().filter(|wire| wire.port.arity != Arity::Many).flat_map(|wire| &wire.feeds);
    let swept = followed.filter(|feed| above[feed.stage].cells.iter().any(|cell| !cell.is_empty()));
    let follow = |built: &Built, span| Side { what: format!("`{}`", built.name), span, cells: built.cells.clone() };
    let mut sides: Vec<Side> = swept.map(|feed| follow(&above[feed.stage], feed.span)).collect();
    sides.extend(block.axes.iter().map(Side::of));
    sides
}

fn links(wire: &Wire, cell: &Cell, above: &[Built]) -> Vec<Link> {
    let all = wire.port.arity == Arity::Many;
    let of = |feed: &Feed| {
        let built = &above[feed.stage];
        let cells = built.cells.iter().enumerate().filter(|(_, part)| all || sweep::contains(cell, part));
        let link = |(at, part): (usize, &Cell)| Link {
            name: feed.name.clone(),
            cell: sweep::name(part),
            node: built.first + at,
            port: feed.output,
        };
        cells.map(link).collect::<Vec<_>>()
    };
    wire.feeds.iter().flat_map(of).collect()
}

fn config(
    block: &Block,
    kind: &'static StageKind,
    cell: &Cell,
    assets: &[&str],
    errors: &mut Vec<Diagnostic>,
) -> Option<(Box<dyn AnyStage>, Tree, Vec<SecretUse>)> {
    let span = block.span_of(block.with);
    let empty = Tree { span, data: Data::Map(Vec::new()) };
    let mut tree = block.with.map_or(empty, |entry| entry.value.clone());
    for axis in &block.axes {
        let chosen =
            axis.values.iter().find(|(label, _)| cell.iter().any(|at| at.key == axis.key && at.label == *label));
        let Some((_, value)) = chosen else { continue };
        if let Err(fault) = put(&mut tree, axis, value) {
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

/// Puts one value of a sweep at its path, making the mappings on the way.
fn put(tree: &mut Tree, axis: &Axis, value: &Tree) -> Result<(), Box<Diagnostic>> {
    let mut here = tree;
    let mut done = String::new();
    for key in axis.key.split('.') {
        if here.is_null() {
            here.data = Data::Map(Vec::new());
        }
        let noun = here.noun();
        let Data::Map(entries) = &mut here.data else {
            let message = format!("`{done}` is {noun}, so there is no `{}` to sweep", axis.key);
            return Err(Diagnostic::at(axis.key_span, message).into());
        };
        let at = entries.iter().position(|entry| entry.key == key).unwrap_or_else(|| {
            let empty = Tree { span: axis.key_span, data: Data::Map(Vec::new()) };
            entries.push(Entry { key: key.to_owned(), key_span: axis.key_span, value: empty });
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
