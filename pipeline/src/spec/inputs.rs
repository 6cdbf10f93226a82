//! The `inputs` of a stage: which output of which stage above feeds which port.

use super::cycle::Cycles;
use super::document::has_typo_of;
use super::port_references::references;
use super::serde_messages::a;
use super::stage_block::StageBlock;
use super::stage_decl::StageDecl;
use super::tree::{Data, Entry, Tree};
use crate::diagnostic::{Diagnostic, Span, listed};
use crate::{Arity, PortSpec};

/// One port with what feeds it.
pub(crate) struct PortBinding {
    pub port: PortSpec,
    pub references: Vec<Reference>,
}

/// One reference, resolved.
pub(crate) struct Reference {
    /// The name it goes by in tables.
    pub name: String,
    /// Position among the stages.
    pub stage: usize,
    /// The output port there.
    pub output: &'static str,
    pub span: Span,
}

/// What a reference is looked up in.
pub(crate) struct Scope<'a, 't> {
    /// The stages above.
    pub above: &'a [StageDecl],
    /// All stages as they are written.
    pub written: &'a [Entry],
    /// Which of them read each other.
    pub cycles: &'a Cycles<'t>,
}

/// Resolves all inputs of a stage, one binding for each port in the order of the kind's fields. Ports of an unknown kind are
/// not known, but what they refer to is checked all the same.
pub(crate) fn bindings(block: &StageBlock, scope: &Scope, errors: &mut Vec<Diagnostic>) -> Vec<PortBinding> {
    if block.inputs_broken {
        return Vec::new();
    }
    let written = block.inputs.map_or(&[][..], |entry| entry.value.entries());
    let Some(kind) = block.kind else {
        for (_, reference) in written.iter().flat_map(|entry| references(&entry.value)) {
            resolve(block, None, reference, scope, errors);
        }
        return Vec::new();
    };
    let ports = (kind.inputs)();
    for entry in written.iter().filter(|entry| !ports.iter().any(|port| port.name == entry.key)) {
        let fault = Diagnostic::at(entry.key_span, format!("{} has no input `{}`", kind.kind, entry.key));
        let names = || ports.iter().map(|port| port.name);
        let allowed = || match ports.is_empty() {
            true => format!("{} reads nothing", kind.kind),
            false => format!("its inputs are {}", listed(names())),
        };
        errors.push(fault.suggest(&entry.key, names(), allowed));
    }
    let names: Vec<&str> = ports.iter().map(|port| port.name).collect();
    // A name that is no input is an error already, and perhaps meant one of these.
    let is_written = |entry: &Entry| kind.needs_one_of.contains(&&*entry.key) && !entry.value.is_null();
    if !kind.needs_one_of.is_empty() && !written.iter().any(|entry| is_written(entry) || !names.contains(&&*entry.key))
    {
        errors.push(lacking_all(block, kind.needs_one_of, &ports, scope));
    }
    let misspelt = |port: &PortSpec| block.inputs.is_some_and(|entry| has_typo_of(&entry.value, port.name, &names));
    ports.into_iter().filter(|port| !misspelt(port)).map(|port| binding(block, port, written, scope, errors)).collect()
}

fn binding(
    block: &StageBlock,
    port: PortSpec,
    written: &[Entry],
    scope: &Scope,
    errors: &mut Vec<Diagnostic>,
) -> PortBinding {
    let entry = written.iter().find(|entry| entry.key == port.name);
    let Some(entry) = entry.filter(|entry| !entry.value.is_null()) else {
        if port.arity == Arity::One {
            let span = entry.map_or(block.span_of(block.inputs), |entry| entry.key_span);
            errors.push(lacking(block, &port, span, scope));
        }
        return PortBinding { port, references: Vec::new() };
    };
    if port.arity != Arity::Many && matches!(entry.value.data, Data::List(_) | Data::Map(_)) {
        let found = entry.value.noun();
        let message = format!("`{}.{}` takes one reference, not {found}", block.name, port.name);
        errors.push(Diagnostic::at(entry.value.span, message).help("write `stage.port`"));
        return PortBinding { port, references: Vec::new() };
    }
    let mut resolved: Vec<Reference> = Vec::new();
    let mut seen: Vec<&str> = Vec::new();
    for (group, reference) in references(&entry.value) {
        let Some((stage, output)) = resolve(block, Some(&port), reference, scope, errors) else { continue };
        let text = reference.text().unwrap_or_default();
        if group.is_none() && resolved.iter().any(|known| (known.stage, known.output) == (stage, output)) {
            errors.push(Diagnostic::at(reference.span, format!("`{text}` stands in this list twice")));
            continue;
        }
        seen.push(text);
        let name = group.map_or_else(|| scope.above[stage].name.clone(), str::to_owned);
        resolved.push(Reference { name, stage, output, span: reference.span });
    }
    // Two outputs of one stage in a list would go by the same name.
    let stages: Vec<usize> = resolved.iter().map(|known| known.stage).collect();
    if matches!(entry.value.data, Data::List(_)) {
        for (known, text) in resolved.iter_mut().zip(seen) {
            if stages.iter().filter(|&&stage| stage == known.stage).count() > 1 {
                known.name = text.to_owned();
            }
        }
    }
    PortBinding { port, references: resolved }
}

/// Finds stage and output of one reference, or reports why there is none.
fn resolve(
    block: &StageBlock,
    port: Option<&PortSpec>,
    reference: &Tree,
    scope: &Scope,
    errors: &mut Vec<Diagnostic>,
) -> Option<(usize, &'static str)> {
    let Some(text) = reference.text() else {
        let message = format!("a reference is written `stage.port`, this is {}", reference.noun());
        errors.push(Diagnostic::at(reference.span, message));
        return None;
    };
    let (stage, output) = text.split_once('.').map_or((text, None), |(stage, output)| (stage, Some(output)));
    let Some(index) = scope.above.iter().position(|decl| decl.name == stage) else {
        let cycle = if stage == block.name { None } else { scope.cycles.fault(block.name, stage, reference.span) };
        errors.push(cycle.unwrap_or_else(|| no_stage(block, port, stage, reference.span, scope)));
        return None;
    };
    let decl = &scope.above[index];
    let outputs = (decl.kind?.outputs)();
    let all = || listed(outputs.iter().map(|spec| spec.name));
    let found = match output {
        Some(name) => {
            let found = outputs.iter().find(|spec| spec.name == name);
            if found.is_none() {
                let at = reference.span.end.saturating_sub(name.len());
                let inside = Span { start: at.max(reference.span.start), ..reference.span };
                // A quoted reference ends in its quote: then the whole of it is shown.
                let span =
                    if reference.span.end - reference.span.start == text.len() { inside } else { reference.span };
                let fault = Diagnostic::at(span, format!("`{stage}` has no output `{name}`"));
                let names = outputs.iter().map(|spec| spec.name);
                errors.push(fault.suggest(name, names, || format!("the outputs of `{stage}` are {}", all())));
            }
            found?
        }
        None if outputs.len() == 1 => &outputs[0],
        None => {
            let fault = Diagnostic::at(reference.span, format!("`{stage}` has {} outputs: say which", outputs.len()));
            let full: Vec<String> = outputs.iter().map(|spec| format!("{stage}.{}", spec.name)).collect();
            errors.push(fault.help(format!("write one of {}", listed(full.iter().map(String::as_str)))));
            return None;
        }
    };
    if let Some(port) = port.filter(|port| port.kind != found.kind) {
        let (takes, is) = (a(port.kind), a(found.kind));
        let message = format!("`{}.{}` takes {takes}, but `{stage}.{}` is {is}", block.name, port.name, found.name);
        let fault = Diagnostic::at(reference.span, message);
        errors.push(match offers(port, scope) {
            Some(offers) => fault.help(offers),
            None => fault,
        });
        return None;
    }
    Some((index, found.name))
}

fn no_stage(block: &StageBlock, port: Option<&PortSpec>, stage: &str, span: Span, scope: &Scope) -> Diagnostic {
    if stage == block.name {
        return Diagnostic::at(span, format!("`{stage}` cannot read its own output"));
    }
    if scope.written.iter().any(|entry| entry.key == stage) {
        return Diagnostic::at(span, format!("`{stage}` is written below `{}`", block.name))
            .help(format!("stages stand in reading order: move `{stage}` above `{}`", block.name));
    }
    let fault = Diagnostic::at(span, format!("there is no stage `{stage}`"));
    let names = || scope.above.iter().map(|decl| decl.name.as_str());
    fault.suggest(stage, names(), || {
        port.and_then(|port| offers(port, scope)).unwrap_or_else(|| match scope.above {
            [] => "no stage stands above this one".into(),
            _ => format!("the stages above are {}", listed(names())),
        })
    })
}

fn lacking(block: &StageBlock, port: &PortSpec, span: Span, scope: &Scope) -> Diagnostic {
    let (name, kind) = (port.name, a(port.kind));
    // `interactions, interactions` would say the same word twice.
    let of_kind = if kind == name { String::new() } else { format!(", {kind}") };
    let fault = Diagnostic::at(span, format!("`{}` lacks its input `{name}`{of_kind}", block.name));
    fault.help(offers(port, scope).unwrap_or_else(|| format!("no stage above makes {kind}: add one")))
}

/// None of the inputs is connected of which one must be.
fn lacking_all(block: &StageBlock, one_of: &[&str], ports: &[PortSpec], scope: &Scope) -> Diagnostic {
    let message = format!("`{}` needs one of its inputs {}", block.name, listed(one_of.iter().copied()));
    let wanted = ports.iter().filter(|port| one_of.contains(&port.name));
    let offers: Vec<String> = wanted.filter_map(|port| offers(port, scope)).collect();
    let none = || "no stage above makes any of them: add one".to_owned();
    let help = if offers.is_empty() { none() } else { offers.join("; ") };
    Diagnostic::at(block.span_of(block.inputs), message).help(help)
}

/// The outputs above that would fit a port.
fn offers(port: &PortSpec, scope: &Scope) -> Option<String> {
    let outputs = |decl: &StageDecl| {
        let specs = decl.kind.map(|kind| (kind.outputs)()).unwrap_or_default();
        let fitting = specs.into_iter().filter(|spec| spec.kind == port.kind);
        fitting.map(|spec| format!("{}.{}", decl.name, spec.name)).collect::<Vec<_>>()
    };
    let names: Vec<String> = scope.above.iter().flat_map(outputs).collect();
    let list = listed(names.iter().map(String::as_str));
    (!names.is_empty()).then(|| format!("for {} there is {list}", a(port.kind)))
}
