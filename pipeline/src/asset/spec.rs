//! What an experiment says about an asset: where it can be had, and by which digest it is known.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// A model or data set that the experiment uses: where to get it and, where known, its digest.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct AssetSpec {
    /// SHA-256 that the content must have, as 64 hex digits; recorded at the first fetch where absent. Of a folder it is
    /// the SHA-256 of its listing: for each file, in the byte order of the paths, the path relative to the folder with `/`
    /// between its parts, a zero byte, the SHA-256 of the file in lower-case hex, and a line feed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub sha256: Option<String>,
    /// Where it can be had; tried in this order until one gives it.
    pub from: Vec<Source>,
}

/// One place where an asset can be had: exactly one of `url`, `pip`, `generate` and `path`.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Source {
    /// A file at an `https://` address; with `member`, a zip archive there.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub url: Option<String>,
    /// A Python package with its version (`recbole==1.2.1`), downloaded with the machine's own pip and never installed;
    /// needs `member`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub pip: Option<String>,
    /// What to take out of the package or archive: the path of a file, or of a folder with a `/` at its end.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub member: Option<String>,
    /// The name of a small asset that the program makes by itself.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub generate: Option<String>,
    /// A file or folder of this machine, relative to the experiment file. It is used where it lies.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub path: Option<String>,
}

/// A [`Source`] that was checked.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kind<'a> {
    Url(&'a str),
    /// A member of the zip archive at an address.
    Archive {
        url: &'a str,
        member: &'a str,
    },
    Pip {
        requirement: &'a str,
        member: &'a str,
    },
    Generate(&'a str),
    Path(&'a str),
}

impl AssetSpec {
    /// What no type can say.
    ///
    /// # Errors
    /// The path below the asset at fault, such as `from[1].member`, and a sentence.
    pub fn check(&self) -> Result<(), (String, String)> {
        if let Some(digest) = &self.sha256
            && !(digest.len() == 64 && digest.bytes().all(|byte| byte.is_ascii_hexdigit()))
        {
            let found =
                format!("a SHA-256 is 64 hex digits, found {} characters in `{digest}`", digest.chars().count());
            return Err(("sha256".into(), found));
        }
        if self.from.is_empty() {
            return Err(("from".into(), "names no source: give one of `url`, `pip`, `generate`, `path`".into()));
        }
        for (index, source) in self.from.iter().enumerate() {
            source.kind().map_err(|(field, sentence)| {
                let dot = if field.is_empty() { "" } else { "." };
                (format!("from[{index}]{dot}{field}"), sentence)
            })?;
        }
        Ok(())
    }

    /// The wanted SHA-256 in lower case.
    pub(super) fn wanted(&self) -> Option<String> {
        self.sha256.as_ref().map(|digest| digest.to_ascii_lowercase())
    }
}

impl Source {
    /// The one kind of this source, or the field at fault and a sentence.
    pub(super) fn kind(&self) -> Result<Kind<'_>, (&'static str, String)> {
        let kind = match (&self.url, &self.pip, &self.generate, &self.path) {
            (Some(url), None, None, None) => match &self.member {
                Some(member) => Kind::Archive { url, member },
                None => Kind::Url(url),
            },
            (None, Some(pip), None, None) => {
                let Some(member) = &self.member else {
                    return Err(("member", format!("say which file or folder/ of the package `{pip}` to take")));
                };
                Kind::Pip { requirement: pip, member }
            }
            (None, None, Some(name), None) => Kind::Generate(name),
            (None, None, None, Some(path)) => Kind::Path(path),
            (None, None, None, None) => {
                return Err(("", "names no source: give one of `url`, `pip`, `generate`, `path`".into()));
            }
            _ => return Err(("", "give exactly one of `url`, `pip`, `generate`, `path`".into())),
        };
        if self.member.is_some() && self.pip.is_none() && self.url.is_none() {
            let sentence = "`member` takes something out of a package or an archive and goes with `pip` or `url`";
            return Err(("member", sentence.into()));
        }
        kind.check().map(|()| kind)
    }
}

impl Kind<'_> {
    fn check(self) -> Result<(), (&'static str, String)> {
        match self {
            Self::Url(url) => check_url(url).map_err(|sentence| ("url", sentence)),
            Self::Archive { url, member } => {
                check_url(url).map_err(|sentence| ("url", sentence))?;
                if !is_inner_path(member) {
                    return Err(("member", format!("a path inside the archive is wanted, found `{member}`")));
                }
                Ok(())
            }
            Self::Pip { requirement, member } => {
                if !is_pinned(requirement) {
                    return Err(("pip", format!("write `package==version`, found `{requirement}`")));
                }
                if !is_inner_path(member) {
                    return Err(("member", format!("a path inside the package is wanted, found `{member}`")));
                }
                Ok(())
            }
            Self::Generate("") => Err(("generate", "is empty".into())),
            Self::Path("") => Err(("path", "is empty".into())),
            Self::Generate(_) | Self::Path(_) => Ok(()),
        }
    }

    /// The last part of the address: the name under which a person would save it.
    pub(super) fn basename(self) -> Option<String> {
        let path = match self {
            Self::Url(url) => url.split(['?', '#']).next()?.split_once("://")?.1.split_once('/')?.1,
            Self::Pip { member, .. } | Self::Archive { member, .. } => member,
            Self::Path(path) => path,
            Self::Generate(name) => name,
        };
        let name = path.trim_end_matches('/').rsplit('/').next()?;
        is_plain_name(name).then(|| name.to_owned())
    }

    /// Whether it gives a folder; `None` where only a look at it tells.
    pub(super) fn is_folder(self) -> Option<bool> {
        match self {
            Self::Url(_) => Some(false),
            Self::Pip { member, .. } | Self::Archive { member, .. } => Some(member.ends_with('/')),
            Self::Path(_) | Self::Generate(_) => None,
        }
    }
}

/// How people read a source, and the text that names it in the cache.
impl std::fmt::Display for Kind<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Url(url) => f.write_str(url),
            Self::Archive { url, member } => write!(f, "{url} · {member}"),
            Self::Pip { requirement, member } => write!(f, "pip {requirement} · {member}"),
            Self::Generate(name) => write!(f, "generate {name}"),
            Self::Path(path) => write!(f, "path {path}"),
        }
    }
}

/// Whether `name` can be one entry of a folder and nothing else.
pub(super) fn is_plain_name(name: &str) -> bool {
    !matches!(name, "" | "." | "..") && !name.contains(['/', '\\', '\0', ':'])
}

/// Whether `path` leads into a folder and never out of it.
pub(super) fn is_inner_path(path: &str) -> bool {
    path.strip_suffix('/').unwrap_or(path).split('/').all(is_plain_name)
}

fn is_pinned(requirement: &str) -> bool {
    let of = |text: &str, more: &str| {
        text.starts_with(|c: char| c.is_ascii_alphanumeric())
            && text.chars().all(|c| c.is_ascii_alphanumeric() || more.contains(c))
    };
    requirement.split_once("==").is_some_and(|(name, version)| of(name, "._-") && of(version, ".+!_-"))
}

/// Plain `http` is for tests and tunnels on this machine alone: elsewhere anyone on the way could change the bytes.
pub(super) fn is_loopback(url: &str) -> bool {
    let Some(rest) = url.strip_prefix("http://") else { return false };
    let authority = rest.split(['/', '?', '#']).next().unwrap_or_default();
    let host = match authority.rsplit_once(':') {
        Some((host, port)) if port.bytes().all(|byte| byte.is_ascii_digit()) => host,
        _ => authority,
    };
    matches!(host, "127.0.0.1" | "localhost" | "[::1]")
}

fn check_url(url: &str) -> Result<(), String> {
    if !url.starts_with("https://") && !is_loopback(url) {
        return Err(format!("an address that begins with `https://` is wanted, found `{url}`"));
    }
    let rest = url.split_once("://").map_or("", |(_, rest)| rest);
    let authority = rest.split(['/', '?', '#']).next().unwrap_or_default();
    if authority.contains('@') {
        return Err("holds a user or password: secrets do not belong into an experiment".into());
    }
    if (Kind::Url(url)).basename().is_none() {
        return Err(format!("names no file: `{url}`"));
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn spec(yaml: &str) -> AssetSpec {
        serde_yaml::from_str(yaml).unwrap()
    }

    fn fault(yaml: &str) -> (String, String) {
        spec(yaml).check().unwrap_err()
    }

    #[test]
    fn sources_as_experiments_write_them_pass() {
        for yaml in [
            "from: [{ pip: recbole==1.2.1, member: recbole/dataset_example/ml-100k/ }]",
            "from: [{ url: 'https://example.org/a.gguf?download=1' }, { generate: toy-log }]",
            "from: [{ path: ../logs/mine/ }]",
            "from: [{ url: 'http://127.0.0.1:8080/a' }]",
        ] {
            assert_eq!(spec(yaml).check(), Ok(()), "{yaml}");
        }
    }

    #[test]
    fn faults_name_their_place() {
        assert_eq!(fault("{ sha256: abc, from: [{ generate: a }] }").0, "sha256");
        assert_eq!(fault("from: []").0, "from");
        assert_eq!(fault("from: [{ generate: a }, {}]").0, "from[1]");
        assert_eq!(fault("from: [{ generate: a, path: b }]").0, "from[0]");
        assert_eq!(fault("from: [{ pip: a==1 }]").0, "from[0].member");
        assert_eq!(fault("from: [{ path: a, member: b }]").0, "from[0].member");
        assert_eq!(fault("from: [{ pip: a==1, member: ../b }]").0, "from[0].member");
        for pip in ["a", "--editable==1", "a==", "a[b]==1", "a == 1"] {
            assert_eq!(fault(&format!("from: [{{ pip: '{pip}', member: b }}]")).0, "from[0].pip", "{pip}");
        }
    }

    #[test]
    fn only_https_and_this_machine_are_addresses() {
        for url in [
            "http://example.org/a",
            "http://127.0.0.1.example.org/a",
            "ftp://example.org/a",
            "https://u:p@example.org/a",
            "https://example.org/",
            "https://example.org",
        ] {
            assert_eq!(fault(&format!("from: [{{ url: '{url}' }}]")).0, "from[0].url", "{url}");
        }
    }

    #[test]
    fn an_unknown_field_is_refused() {
        let error = serde_yaml::from_str::<AssetSpec>("from: [{ ulr: a }]").unwrap_err().to_string();
        assert!(error.contains("unknown field `ulr`"), "{error}");
    }

    #[test]
    fn basenames_are_what_a_person_would_save_as() {
        let name = |yaml: &str| spec(yaml).from[0].kind().unwrap().basename();
        assert_eq!(name("from: [{ url: 'https://example.org/x/a.gguf?download=1' }]").as_deref(), Some("a.gguf"));
        assert_eq!(name("from: [{ pip: a==1, member: a/ml-100k/ }]").as_deref(), Some("ml-100k"));
        assert_eq!(name("from: [{ path: ../logs/mine/ }]").as_deref(), Some("mine"));
        assert_eq!(name("from: [{ path: .. }]"), None);
    }
}
