//! What a stage asks of the machine that works on it. No part of a key: it says how a result is reached.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::memory_need;

/// What may stand in `resources` of a stage, and in the profile of a site. What is left out is what the site gives.
#[derive(Clone, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Resources {
    /// The partition (queue) to run in.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub partition: Option<String>,
    /// How long it may run, as Slurm writes it (`2:00:00`, `1-12:00`, minutes). A stage that is stopped at its end saves, and goes on in
    /// another job.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub time: Option<String>,
    /// Processor cores; its numerical work takes as many threads.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 1))]
    pub cpus: Option<u32>,
    /// Memory, as in `16GiB`; its tables may take nine tenths of it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub memory: Option<String>,
    /// Generic resources, such as `gpu:1`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub gres: Option<String>,
}

impl Resources {
    /// These, and those of `site` where these say nothing.
    #[must_use]
    pub fn or(&self, site: &Self) -> Self {
        let first = |own: &Option<String>, other: &Option<String>| own.clone().or_else(|| other.clone());
        Self {
            partition: first(&self.partition, &site.partition),
            time: first(&self.time, &site.time),
            cpus: self.cpus.or(site.cpus),
            memory: first(&self.memory, &site.memory),
            gres: first(&self.gres, &site.gres),
        }
    }

    /// The memory in bytes.
    #[must_use]
    pub fn memory_bytes(&self) -> Option<u64> {
        self.memory.as_deref().and_then(|text| memory_need::parse(text).ok())
    }

    /// What no type can say: the field at fault, and a sentence.
    ///
    /// # Errors
    /// When a value cannot be what its field means.
    pub fn check(&self) -> Result<(), (&'static str, String)> {
        if let Some(text) = &self.memory {
            memory_need::parse(text).map_err(|why| ("memory", why))?;
        }
        if self.cpus == Some(0) {
            return Err(("cpus", "wanted at least 1".into()));
        }
        for (field, text) in [("partition", &self.partition), ("time", &self.time), ("gres", &self.gres)] {
            // They become words of a line of a script.
            if text.as_ref().is_some_and(|text| text.is_empty() || text.contains(char::is_whitespace)) {
                return Err((field, "wanted one word".into()));
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_stage_goes_before_its_site_field_by_field() {
        let read = |text: &str| serde_yaml::from_str::<Resources>(text).unwrap();
        let site = read("{ partition: cpu, time: '1:00:00', memory: 4GiB }");
        let both = read("{ partition: gpu, gres: 'gpu:1', cpus: 8 }").or(&site);
        assert_eq!(both, read("{ partition: gpu, gres: 'gpu:1', cpus: 8, time: '1:00:00', memory: 4GiB }"));
        assert_eq!((both.memory_bytes(), Resources::default().memory_bytes()), (Some(4 << 30), None));
        assert_eq!(both.check(), Ok(()));
        for (text, field) in
            [("{ memory: much }", "memory"), ("{ cpus: 0 }", "cpus"), ("{ gres: 'gpu:1 --x' }", "gres")]
        {
            assert_eq!(read(text).check().unwrap_err().0, field);
        }
    }
}
