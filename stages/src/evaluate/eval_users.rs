//! The evaluated users: all users of the world, or those with a row in the log at `eval_users`, such as the users of a test split.

use anyhow::{Result, bail, ensure};

use crate::artifact::{Demonstrations, Interactions, World};

/// The evaluated users, ascending.
pub(super) fn evaluated_users(world: &World, eval_users: Option<&Interactions>) -> Result<Vec<u32>> {
    let mut users: Vec<u32> = match eval_users {
        None => (0..world.users() as u32).collect(),
        Some(log) => log.user.clone(),
    };
    users.sort_unstable();
    users.dedup();
    ensure!(
        eval_users.is_none() || !users.is_empty(),
        "the log at `eval_users` has no row, so no user is evaluated\nhelp: connect a log of the users to evaluate, such as the test part of a split, or leave `eval_users` out to evaluate all"
    );
    if let Some(&strange) = users.last().filter(|user| **user as usize >= world.users()) {
        bail!(
            "the log at `eval_users` holds user {strange}, the evaluation world has {}\nhelp: make both from one ingest stage",
            world.users()
        );
    }
    Ok(users)
}

/// The teacher's episodes with those of `eval_users`; all without a log there.
pub(super) fn of_evaluated_users(teacher: &Demonstrations, eval_users: Option<&[u32]>) -> Result<Demonstrations> {
    let Some(eval_users) = eval_users else { return Ok(teacher.clone()) };
    let trajectories: Vec<_> = teacher
        .trajectories
        .iter()
        .filter(|trajectory| eval_users.binary_search(&trajectory.user).is_ok())
        .cloned()
        .collect();
    ensure!(
        !trajectories.is_empty() || teacher.trajectories.is_empty(),
        "none of its {} users is evaluated: none has a row in the log at `eval_users`\nhelp: let its demonstrate stage play with more \
         `users`, or leave `eval_users` or `teacher` out",
        teacher.trajectories.len()
    );
    Ok(Demonstrations { trajectories, searched_in: teacher.searched_in.clone() })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::artifact::{Termination, Trajectory};
    use crate::env::cluster_world;

    fn log(users: &[u32]) -> Interactions {
        let rows = users.len();
        Interactions { user: users.to_vec(), item: vec![0; rows], rating: vec![4.0; rows], timestamp: vec![0; rows] }
    }

    #[test]
    fn those_with_a_row_are_judged_once_each_in_order() {
        let world = cluster_world(&[5.0, 4.0], 2, 1, 4, 6);
        assert_eq!(evaluated_users(&world, None).unwrap(), [0, 1, 2, 3, 4, 5]);
        assert_eq!(evaluated_users(&world, Some(&log(&[4, 1, 4]))).unwrap(), [1, 4]);
        for (users, said) in [(&[][..], "has no row"), (&[1, 6], "holds user 6, the evaluation world has 6")] {
            let error = evaluated_users(&world, Some(&log(users))).unwrap_err().to_string();
            assert!(error.contains(said) && error.contains("help: "), "{error}");
        }
    }

    #[test]
    fn the_teacher_is_left_with_the_judged_ones() {
        let teacher = Demonstrations::new(
            [3, 0].map(|user| Trajectory { user, steps: Vec::new(), end: Termination::Horizon }).into(),
        );
        assert_eq!(of_evaluated_users(&teacher, None).unwrap(), teacher);
        let left = of_evaluated_users(&teacher, Some(&[0, 2])).unwrap();
        assert_eq!(left.trajectories.iter().map(|t| t.user).collect::<Vec<_>>(), [0]);
        let error = of_evaluated_users(&teacher, Some(&[1])).unwrap_err().to_string();
        assert!(error.starts_with("none of its 2 users is evaluated") && error.contains("help: "), "{error}");
    }
}
