//! The typed inputs and outputs of a stage, and how they meet files.

use std::path::{Path, PathBuf};

use anyhow::{Context as _, bail};

use crate::{Artifact, IdSpaces, Sizes};

/// How many artifacts a port takes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Arity {
    /// Exactly one.
    One,
    /// None or one.
    Optional,
    /// Any number, each with a name.
    Many,
}

/// One port as the engine sees it.
#[derive(Clone, Debug)]
pub struct PortSpec {
    /// The port's name in the experiment file.
    pub name: &'static str,
    /// The artifact kind that it carries.
    pub kind: &'static str,
    /// The artifact's file format number.
    pub format: u32,
    /// The artifact's file extension.
    pub extension: &'static str,
    /// How many artifacts it takes.
    pub arity: Arity,
    /// As [`Artifact::NUMBERED`].
    pub numbered: bool,
    /// As [`Artifact::id_spaces_of`].
    pub id_spaces: fn(&Path) -> anyhow::Result<IdSpaces>,
    /// As [`Artifact::sizes_of`].
    pub sizes: fn(&Path) -> anyhow::Result<Sizes>,
}

/// The file behind one reference of an input port.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PortFile {
    /// The name given in the experiment (`a2c` in `policies: { a2c: policy.policy }`), else the name of the stage.
    pub name: String,
    /// The sweep cell that it came from (`seed=3`), empty where the stage was not swept.
    pub cell: String,
    /// Where the bytes lie.
    pub path: PathBuf,
}

/// One value of a `Many` port with the names it goes by in tables.
#[derive(Clone, Debug)]
pub struct Named<A> {
    /// As [`PortFile::name`].
    pub name: String,
    /// As [`PortFile::cell`].
    pub cell: String,
    /// The artifact itself.
    pub value: A,
}

/// A port that takes any number of artifacts.
pub type Many<A> = Vec<Named<A>>;

/// What may stand as a field of a [`Ports`] struct: `A`, `Option<A>` or `Many<A>`.
pub trait PortField: Sized {
    /// Describes the port.
    fn spec(name: &'static str) -> PortSpec;
    /// Reads it from the files that the experiment connected.
    fn read(name: &str, files: &[PortFile]) -> anyhow::Result<Self>;
    /// As [`Artifact::id_spaces`].
    fn id_spaces(&self) -> IdSpaces;
    /// Writes it as `<dir>/<name>`, within these spaces of ids; only single artifacts can be outputs.
    fn write(&self, name: &str, dir: &Path, spaces: &IdSpaces) -> anyhow::Result<()>;
}

fn spec<A: Artifact>(name: &'static str, arity: Arity) -> PortSpec {
    PortSpec {
        name,
        kind: A::KIND,
        format: A::FORMAT,
        extension: A::EXTENSION,
        arity,
        numbered: A::NUMBERED,
        id_spaces: A::id_spaces_of,
        sizes: A::sizes_of,
    }
}

fn read_one<A: Artifact>(port: &str, file: &PortFile) -> anyhow::Result<A> {
    A::read(&file.path).with_context(|| format!("input `{port}` ({} {})", A::KIND, file.name))
}

impl<A: Artifact> PortField for A {
    fn spec(name: &'static str) -> PortSpec {
        spec::<A>(name, Arity::One)
    }
    fn read(name: &str, files: &[PortFile]) -> anyhow::Result<Self> {
        let [file] = files else { bail!("input `{name}` takes one {}, found {}", A::KIND, files.len()) };
        read_one(name, file)
    }
    fn id_spaces(&self) -> IdSpaces {
        Artifact::id_spaces(self)
    }
    fn write(&self, name: &str, dir: &Path, spaces: &IdSpaces) -> anyhow::Result<()> {
        self.write_within(&dir.join(name), spaces).with_context(|| format!("output `{name}`"))
    }
}

impl<A: Artifact> PortField for Option<A> {
    fn spec(name: &'static str) -> PortSpec {
        spec::<A>(name, Arity::Optional)
    }
    fn read(name: &str, files: &[PortFile]) -> anyhow::Result<Self> {
        match files {
            [] => Ok(None),
            [file] => read_one(name, file).map(Some),
            _ => bail!("input `{name}` takes one {}, found {}", A::KIND, files.len()),
        }
    }
    fn id_spaces(&self) -> IdSpaces {
        self.as_ref().map(Artifact::id_spaces).unwrap_or_default()
    }
    fn write(&self, name: &str, _: &Path, _: &IdSpaces) -> anyhow::Result<()> {
        bail!("output `{name}` is optional: outputs are single artifacts")
    }
}

impl<A: Artifact> PortField for Many<A> {
    fn spec(name: &'static str) -> PortSpec {
        spec::<A>(name, Arity::Many)
    }
    fn read(name: &str, files: &[PortFile]) -> anyhow::Result<Self> {
        let named = |file: &PortFile| {
            Ok(Named { name: file.name.clone(), cell: file.cell.clone(), value: read_one(name, file)? })
        };
        files.iter().map(named).collect()
    }
    fn id_spaces(&self) -> IdSpaces {
        self.iter().map(|named| named.value.id_spaces()).fold(IdSpaces::default(), IdSpaces::and)
    }
    fn write(&self, name: &str, _: &Path, _: &IdSpaces) -> anyhow::Result<()> {
        bail!("output `{name}` holds many artifacts: outputs are single artifacts")
    }
}

/// A struct of ports; made by [`ports!`](macro@crate::ports), so that the field list is written once.
pub trait Ports: Sized {
    /// The ports in the order of their fields.
    fn specs() -> Vec<PortSpec>;
    /// Reads every field; `files` answers with the files connected to a port.
    fn read(files: &dyn Fn(&str) -> Vec<PortFile>) -> anyhow::Result<Self>;
    /// Which ids the fields that hold ids give row numbers to.
    fn id_spaces(&self) -> IdSpaces;
    /// Writes every field into `dir`, each under its port's name and within these spaces of ids.
    fn write(&self, dir: &Path, spaces: &IdSpaces) -> anyhow::Result<()>;
}

/// Declares a struct of ports: fields are `A`, `Option<A>` or `Many<A>` of an [`Artifact`] `A`.
///
/// ```text
/// ports! {
///     /// What the stage reads.
///     pub struct Inputs { world: World, policies: Many<Policy> }
/// }
/// ```
#[macro_export]
macro_rules! ports {
    ($(#[$meta:meta])* $vis:vis struct $name:ident { $($(#[$doc:meta])* $field:ident : $kind:ty),* $(,)? }) => {
        $(#[$meta])*
        $vis struct $name { $($(#[$doc])* pub $field: $kind),* }
        impl $crate::Ports for $name {
            fn specs() -> Vec<$crate::PortSpec> {
                vec![$(<$kind as $crate::PortField>::spec(stringify!($field))),*]
            }
            fn read(files: &dyn Fn(&str) -> Vec<$crate::PortFile>) -> anyhow::Result<Self> {
                let _ = files;
                Ok(Self { $($field: <$kind as $crate::PortField>::read(stringify!($field), &files(stringify!($field)))?),* })
            }
            fn id_spaces(&self) -> $crate::IdSpaces {
                $crate::IdSpaces::default()$(.and(<$kind as $crate::PortField>::id_spaces(&self.$field)))*
            }
            fn write(&self, dir: &::std::path::Path, spaces: &$crate::IdSpaces) -> anyhow::Result<()> {
                let _ = (dir, spaces);
                $(<$kind as $crate::PortField>::write(&self.$field, stringify!($field), dir, spaces)?;)*
                Ok(())
            }
        }
    };
}
