//! Who is judged: everybody in the world, or those with a row in the log at `people`, such as the users of a test split.

use anyhow::{Result, bail, ensure};

use crate::artifact::{Demonstrations, Interactions, World};

/// The judged users, ascending.
pub(super) fn evaluated_users(world: &World, people: Option<&Interactions>) -> Result<Vec<u32>> {
    let mut users: Vec<u32> = match people {
        None => (0..world.users() as u32).collect(),
        Some(log) => log.user.clone(),
    };
    users.sort_unstable();
    users.dedup();
    ensure!(
        people.is_none() || !users.is_empty(),
        "the log at `people` has no row, so nobody is judged\nhelp: connect a log with the users to judge, such as the test \
         part of a split, or leave `people` out to judge all"
    );
    if let Some(&strange) = users.last().filter(|user| **user as usize >= world.users()) {
        bail!(
            "the log at `people` holds user {strange}, the judging world has {}\nhelp: make both from one ingest stage",
            world.users()
        );
    }
    Ok(users)
}

/// The teacher's episodes with those of `people`; all without a log there.
pub(super) fn of_evaluated_users(teacher: &Demonstrations, people: Option<&[u32]>) -> Result<Demonstrations> {
    let Some(people) = people else { return Ok(teacher.clone()) };
    let trajectories: Vec<_> = teacher
        .trajectories
        .iter()
        .filter(|trajectory| people.binary_search(&trajectory.user).is_ok())
        .cloned()
        .collect();
    ensure!(
        !trajectories.is_empty() || teacher.trajectories.is_empty(),
        "none of its {} users is judged: none has a row in the log at `people`\nhelp: let its demonstrate stage play with more \
         `users`, or leave `people` or `teacher` out",
        teacher.trajectories.len()
    );
    Ok(Demonstrations { trajectories })
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
        for (users, said) in [(&[][..], "has no row"), (&[1, 6], "holds user 6, the judging world has 6")] {
            let error = evaluated_users(&world, Some(&log(users))).unwrap_err().to_string();
            assert!(error.contains(said) && error.contains("help: "), "{error}");
        }
    }

    #[test]
    fn the_teacher_is_left_with_the_judged_ones() {
        let teacher = Demonstrations {
            trajectories: [3, 0].map(|user| Trajectory { user, steps: Vec::new(), end: Termination::Horizon }).into(),
        };
        assert_eq!(of_evaluated_users(&teacher, None).unwrap(), teacher);
        let left = of_evaluated_users(&teacher, Some(&[0, 2])).unwrap();
        assert_eq!(left.trajectories.iter().map(|t| t.user).collect::<Vec<_>>(), [0]);
        let error = of_evaluated_users(&teacher, Some(&[1])).unwrap_err().to_string();
        assert!(error.starts_with("none of its 2 users is judged") && error.contains("help: "), "{error}");
    }
}
