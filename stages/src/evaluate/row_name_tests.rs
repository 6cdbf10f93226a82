use super::tests::{get, inputs, quick, run};
use super::*;

#[test]
fn a_policy_may_be_called_anything_but_as_another_row() {
    let with = |name: &str| {
        let mut inputs = inputs();
        inputs.policies[1].name = name.into();
        run(&quick(), inputs)
    };
    for taken in ["greedy oracle", "teacher (LLM)"] {
        let error = format!("{:#}", with(taken).err().unwrap());
        assert!(error.starts_with(&format!("a policy cannot be called `{taken}`")), "{error}");
    }
    // Names that begin or end as those of other rows do say nothing of the row.
    for free in ["teacher's pet", "plan of mine", "bc without repeats"] {
        let metrics = with(free).unwrap().metrics;
        assert_eq!(get(&metrics, free, "return_inclusive").role, RowRole::Policy, "{free}");
    }
}
