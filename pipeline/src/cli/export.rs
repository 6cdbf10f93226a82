//! `apprentice export POLICY`: a trained policy in a form that other programs serve.

use std::path::{Path, PathBuf};

use anyhow::Context as _;
use serde_json::json;

use super::inspect::policy;
use super::output::{print, print_json, talk};
use super::session::Session;
use super::{args, format};
use crate::Exit;
use crate::exit::Failure;
use crate::export::GraphTensor;
use crate::store::write_atomically;

pub(super) fn export(session: &Session, args: &args::Export) -> Result<Exit, Failure> {
    let found = policy(&session.store(), &args.policy, args.experiment.as_deref(), session.catalog)?;
    let exported = (session.catalog.export_policy)(&found)?;
    let args::ExportFormat::Onnx = args.format;
    let path = args.out.clone().unwrap_or_else(|| beside(&args.policy));
    write_atomically(&path, &exported.bytes).with_context(|| {
        format!("cannot write `{}`\nhelp: `--out FILE` names another place, in a folder that is there", path.display())
    })?;
    if session.global.json {
        return print_json(json!({
            "path": path, "format": "onnx", "opset": exported.opset, "bytes": exported.bytes.len(),
            "inputs": exported.inputs, "outputs": exported.outputs,
        }));
    }
    talk(&format!(
        "wrote `{}`: ONNX, opset {}, {}",
        path.display(),
        exported.opset,
        format::bytes(exported.bytes.len() as u64)
    ));
    let row = |way: &str, tensor: &GraphTensor| {
        vec![
            way.to_owned(),
            tensor.name.to_owned(),
            format!("{} [{}]", tensor.element, tensor.shape.join(", ")),
            tensor.about.to_owned(),
        ]
    };
    let inputs = exported.inputs.iter().map(|tensor| row("in", tensor));
    let outputs = exported.outputs.iter().map(|tensor| row("out", tensor));
    print(&format::columns(&inputs.chain(outputs).collect::<Vec<_>>()))
}

/// The name of the file where none is given: that of the stage or of the file, here.
fn beside(policy: &str) -> PathBuf {
    let name = Path::new(policy).file_name().unwrap_or_default().to_string_lossy();
    let stem = name.strip_suffix(".safetensors").or_else(|| name.strip_suffix(".policy")).unwrap_or(&name);
    PathBuf::from(format!("{stem}.onnx"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_file_is_named_for_the_policy() {
        for (policy, name) in [
            ("policy@seed=0", "policy@seed=0.onnx"),
            ("policy@gamma=0.9.policy", "policy@gamma=0.9.onnx"),
            ("artifacts/x/bc/policy.safetensors", "policy.onnx"),
        ] {
            assert_eq!(beside(policy), Path::new(name));
        }
    }
}
