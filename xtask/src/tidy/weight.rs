//! How many crates of others come with one of ours.

use std::collections::BTreeSet;

use anyhow::Result;

use super::Problems;
use super::layers::{CEILINGS, Ceiling};
use crate::{process, project};

pub(super) fn check() -> Result<Problems> {
    let mut problems = Vec::new();
    for ceiling in CEILINGS {
        // With the features this crate itself asks for: in the workspace's graph those of everybody are on.
        let args = ["tree", "--offline", "-e", "normal,build", "--prefix", "none", "-f", "{p}", "-p"];
        let tree = process::output(project::cargo().args(args).arg(ceiling.package))?;
        problems.extend(complaint(ceiling, &tree));
    }
    Ok(problems)
}

fn complaint(ceiling: &Ceiling, tree: &str) -> Option<String> {
    let Ceiling { package, most, why } = ceiling;
    let others: BTreeSet<_> = tree
        .lines()
        .filter_map(|line| {
            let mut words = line.split(' ');
            Some((words.next()?, words.next()?))
        })
        .filter(|(name, _)| name != package)
        .collect();
    (others.len() > *most).then(|| {
        format!("{package}: {} crates come with it, {most} may: {why}. See `cargo tree`", others.len())
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_crate_too_many_is_found_and_one_that_comes_twice_counts_once() {
        let tree = "ours v0.1.0 (/somewhere)\na v1.0.0\nb v1.0.0 (proc-macro)\na v1.0.0 (*)\nb v2.0.0\n";
        let ceiling = |most| Ceiling { package: "ours", most, why: "it is for everybody" };
        assert_eq!(complaint(&ceiling(3), tree), None);
        assert!(complaint(&ceiling(2), tree).unwrap().starts_with("ours: 3 crates come with it, 2 may"));
    }
}
