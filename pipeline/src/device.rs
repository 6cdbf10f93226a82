//! Where a training computes: on the processor, or on a GPU.
//!
//! Which of them is no part of a key: it says how a result is reached. A GPU rounds sums differently from a processor, so the two
//! give policies that differ in their last bits; each run records which it was.

use std::fmt;
use std::str::FromStr;

/// A device, as people name it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub enum Device {
    /// The processor.
    #[default]
    Cpu,
    /// An NVIDIA GPU by its number, as the driver counts them.
    Cuda(usize),
}

impl FromStr for Device {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        match text.split_once(':') {
            None if text == "cpu" => Ok(Self::Cpu),
            None if text == "cuda" => Ok(Self::Cuda(0)),
            Some(("cuda", number)) if number.bytes().all(|digit| digit.is_ascii_digit()) => {
                number.parse().map(Self::Cuda).map_err(|_| unknown(text))
            }
            _ => Err(unknown(text)),
        }
    }
}

fn unknown(text: &str) -> String {
    format!("there is no device `{text}`; it is `cpu`, `cuda` (the first GPU) or `cuda:1` (the second)")
}

impl fmt::Display for Device {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Cpu => f.write_str("cpu"),
            Self::Cuda(number) => write!(f, "cuda:{number}"),
        }
    }
}

/// What a program can compute on beside the processor.
pub struct Devices {
    /// Whether it was built for NVIDIA GPUs.
    pub cuda: bool,
    /// Looks whether that device can be used, before anything runs; the error says what is missing.
    pub probe: fn(Device) -> anyhow::Result<()>,
}

impl Devices {
    /// Those of a program that was built for the processor alone.
    pub const CPU: Self = Self { cuda: false, probe: |_| Ok(()) };

    /// Why this program can never use the device, and what to do: nothing where it can.
    pub(crate) fn lacks(&self, device: Device) -> Option<(String, &'static str)> {
        (device != Device::Cpu && !self.cuda).then(|| {
            (
                format!("`{device}` needs a program that was built for NVIDIA GPUs, and this one was not"),
                "build it with `cargo build --release --features cuda`, or train on the `cpu`",
            )
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn devices_are_read_as_they_are_told() {
        for (text, device) in [("cpu", Device::Cpu), ("cuda:0", Device::Cuda(0)), ("cuda:12", Device::Cuda(12))] {
            assert_eq!((text.parse(), device.to_string().as_str()), (Ok(device), text));
        }
        assert_eq!("cuda".parse(), Ok(Device::Cuda(0)));
        for text in ["", "gpu", "cuda:", "cuda:-1", "cuda:+1", "cpu:0", "CUDA", "cuda:99999999999999999999"] {
            assert!(text.parse::<Device>().unwrap_err().contains(&format!("no device `{text}`")), "{text}");
        }
    }

    #[test]
    fn what_a_program_was_not_built_for_is_told_with_what_to_do() {
        assert!(Devices::CPU.lacks(Device::Cpu).is_none());
        let (what, help) = Devices::CPU.lacks(Device::Cuda(1)).unwrap();
        assert!(what.starts_with("`cuda:1` needs") && help.contains("--features cuda"), "{what} {help}");
        assert!(Devices { cuda: true, ..Devices::CPU }.lacks(Device::Cuda(1)).is_none());
    }
}
