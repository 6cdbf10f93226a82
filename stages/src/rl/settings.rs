//! The settings that all learners share, declared once.

/// Declares the settings of a learner: first its own, each with its default, then `optimizer`, `network`, `checkpoint_every`,
/// `seed` and, where it has one, the discount `gamma`.
///
/// A learner states the defaults of the shared settings and may add to the text of `network` and `gamma`. It gets
/// `check_shared`, which its `check` calls last, and `plan`, the length of its training. The shared settings are fields of the
/// struct like its own: an error names their place in the experiment, and an unknown setting is answered with all names.
macro_rules! learner_settings {
    (
        $(#[$attribute:meta])*
        pub struct $name:ident {
            $($(#[$doc:meta])* pub $field:ident: $type:ty = $default:expr,)*
        }
        shared {
            optimizer: {
                learning_rate: $rate:literal,
                weight_decay: $decay:literal,
                max_grad_norm: $norm:literal,
                schedule: $schedule:ident $(,)?
            },
            $(#[$network_doc:meta])*
            network: $network:expr,
            checkpoint_every: $every:literal $unit:ident,
            $($(#[$gamma_doc:meta])* $gamma:ident: $discount:literal,)?
        }
    ) => {
        $(#[$attribute])*
        #[derive(Clone, Debug, PartialEq, ::serde::Serialize, ::serde::Deserialize, ::schemars::JsonSchema)]
        #[serde(deny_unknown_fields, default)]
        pub struct $name {
            $($(#[$doc])* pub $field: $type,)*
            $(
                /// Discount γ, in [0, 1].
                $(#[$gamma_doc])*
                pub $gamma: f64,
            )?
            /// AdamW and its learning rate.
            pub optimizer: $crate::nn::Optimizer<$name>,
            /// The network: what it reads of a state, and its layers.
            $(#[$network_doc])*
            pub network: $crate::rl::NetworkConfig,
            #[doc = concat!("How many ", stringify!($unit), " lie between two checkpoints, at least 1.")]
            pub checkpoint_every: u64,
            /// Seed of all random numbers: initial weights, users, actions and batches.
            pub seed: u64,
        }

        impl $crate::nn::OptimizerDefaults for $name {
            const LEARNING_RATE: f64 = $rate;
            const WEIGHT_DECAY: f64 = $decay;
            const MAX_GRAD_NORM: Option<f64> = Some($norm);
            const SCHEDULE: $crate::nn::Schedule = $crate::nn::Schedule::$schedule;
        }

        impl Default for $name {
            fn default() -> Self {
                Self {
                    $($field: $default,)*
                    $($gamma: $discount,)?
                    optimizer: $crate::nn::Optimizer::default(),
                    network: $network,
                    checkpoint_every: $every,
                    seed: 0,
                }
            }
        }

        impl $name {
            /// Checks the shared settings.
            fn check_shared(&self) -> $crate::rl::validation::Validation {
                use $crate::rl::validation;
                $(validation::discount(stringify!($gamma), self.$gamma)?;)?
                validation::nested("optimizer", self.optimizer.check())?;
                validation::nested("network", self.network.check())?;
                validation::checkpoints(self.checkpoint_every)
            }

            /// A training of so many updates.
            fn plan(&self, updates: u64) -> $crate::rl::learner::TrainingPlan {
                $crate::rl::learner::TrainingPlan {
                    kind: <Self as ::pipeline::Stage>::KIND,
                    updates,
                    unit: stringify!($unit),
                    checkpoint_every: self.checkpoint_every,
                    learned_in_before: Vec::new(),
                    warm: false,
                }
            }
        }
    };
}

pub(super) use learner_settings;

#[cfg(test)]
mod tests {
    use schemars::schema_for;
    use serde_json::{Value, json};

    use crate::rl::{BehaviourCloning, Dqn, Iql, Ppo};

    fn at(schema: &schemars::Schema, path: &str) -> Value {
        schema.pointer(path).cloned().unwrap_or_default()
    }

    #[test]
    fn the_schema_shows_the_defaults_and_the_texts_of_each_learner() {
        let (ppo, iql, bc) = (schema_for!(Ppo), schema_for!(Iql), schema_for!(BehaviourCloning));
        let values = |rate: f64, decay: f64, norm: f64, schedule: &str| json!({ "learning_rate": rate, "weight_decay": decay, "max_grad_norm": norm, "schedule": schedule });
        assert_eq!(at(&ppo, "/properties/optimizer/default"), values(0.002, 0.0, 1.0, "linear"));
        assert_eq!(at(&iql, "/properties/optimizer/default"), values(0.002, 0.001, 10.0, "linear"));
        assert_eq!(at(&bc, "/properties/optimizer/default"), values(0.003, 0.001, 1.0, "constant"));
        assert_eq!(at(&ppo, "/properties/optimizer/$ref"), "#/$defs/Optimizer_for_Ppo");
        assert_eq!(at(&iql, "/$defs/Optimizer_for_Iql/properties/weight_decay/default"), 0.001);
        let text = |schema, name: &str| at(schema, &format!("/properties/{name}/description"));
        assert_eq!(text(&ppo, "checkpoint_every"), "How many iterations lie between two checkpoints, at least 1.");
        let own = text(&schema_for!(Dqn), "gamma");
        assert!(own.as_str().unwrap().starts_with("Discount γ, in [0, 1].\n0.5 by default"), "{own}");
        assert_eq!((at(&ppo, "/properties/gamma/default"), at(&bc, "/properties/gamma")), (json!(0.9), Value::Null));
    }
}
