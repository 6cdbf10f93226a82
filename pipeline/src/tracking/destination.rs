//! Where a run is reported, as people write it.

use std::fmt;
use std::path::PathBuf;
use std::str::FromStr;

use super::Tracker;
use super::mlflow::MlflowTracker;
use super::tensorboard::TensorBoardTracker;
use crate::home_dir::expand_tilde;

/// `mlflow=http://host:5000` or `tensorboard=folder`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Destination {
    /// The address of a server, without a slash at its end.
    Mlflow(String),
    /// The folder that `tensorboard --logdir` reads.
    TensorBoard(PathBuf),
}

impl Destination {
    pub(super) fn tracker(&self) -> Box<dyn Tracker + Send> {
        match self {
            Self::Mlflow(address) => Box::new(MlflowTracker::new(address)),
            Self::TensorBoard(folder) => Box::new(TensorBoardTracker::new(folder)),
        }
    }
}

impl FromStr for Destination {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        const WANTED: &str = "wanted `mlflow=http://HOST:PORT` or `tensorboard=FOLDER`";
        let (tracker, place) = text.split_once('=').ok_or(WANTED)?;
        match tracker {
            "mlflow" if place.starts_with("http://") || place.starts_with("https://") => {
                // What stands before an `@` would be shown wherever the address is.
                if place.split('/').nth(2).is_some_and(|host| host.contains('@')) {
                    return Err(
                        "holds a password: put it into MLFLOW_TRACKING_USERNAME and MLFLOW_TRACKING_PASSWORD".into()
                    );
                }
                Ok(Self::Mlflow(place.trim_end_matches('/').to_owned()))
            }
            "mlflow" => Err(format!("`{place}` is no address of a server; {WANTED}")),
            "tensorboard" if !place.is_empty() => Ok(Self::TensorBoard(expand_tilde(&PathBuf::from(place)))),
            _ => Err(WANTED.into()),
        }
    }
}

impl fmt::Display for Destination {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Mlflow(address) => write!(f, "mlflow={address}"),
            Self::TensorBoard(folder) => write!(f, "tensorboard={}", folder.display()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn places_are_read_as_written() {
        let read = |text: &str| text.parse::<Destination>();
        assert_eq!(read("mlflow=http://h:5000/"), Ok(Destination::Mlflow("http://h:5000".into())));
        assert_eq!(read("tensorboard=logs/a"), Ok(Destination::TensorBoard("logs/a".into())));
        for (wrong, why) in [
            ("http://h:5000", "wanted `mlflow=http"),
            ("mlflow=h:5000", "`h:5000` is no address"),
            ("mlflow=https://me:secret@h", "holds a password"),
            ("tensorboard=", "wanted `mlflow=http"),
            ("wandb=x", "wanted `mlflow=http"),
        ] {
            assert!(read(wrong).unwrap_err().contains(why), "{wrong}");
        }
    }
}
