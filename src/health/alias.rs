//! The status of an alias: the worst of the checks behind it.

use super::Outcome;
use crate::definition::Status;

/// What an alias of `service_id` on `node` is, from name, status and output of the checks behind it; `None`
/// if what it stands for is unknown. `node` is empty for this agent's own.
pub fn look<'a>(
    checks: Option<impl IntoIterator<Item = (&'a str, Status, &'a str)>>,
    node: &str,
    service_id: &str,
) -> Outcome {
    let Some(checks) = checks else {
        let output = format!("Service {service_id} could not be found on node {node}");
        return Outcome { status: Status::Critical, output };
    };
    let mut worst: Option<(&str, Status, &str)> = None;
    for check in checks {
        if worst.is_none_or(|found| check.1 > found.1) {
            worst = Some(check);
        }
        if check.1 == Status::Critical {
            break;
        }
    }
    match worst {
        None => Outcome { status: Status::Passing, output: "No checks found.".to_owned() },
        Some((_, Status::Passing, _)) => {
            Outcome { status: Status::Passing, output: "All checks passing.".to_owned() }
        }
        Some((name, status, output)) => {
            Outcome { status, output: format!("Aliased check {name:?} failing: {output}") }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_worst_decides() {
        use Status::{Critical, Passing, Warning};
        type Case<'a> = (&'a str, &'a [(&'a str, Status, &'a str)], Status, &'a str);
        let cases: [Case<'_>; 5] = [
            ("none", &[], Passing, "No checks found."),
            ("all pass", &[("a", Passing, "x"), ("b", Passing, "y")], Passing, "All checks passing."),
            (
                "a warning",
                &[("a", Passing, "x"), ("b", Warning, "y")],
                Warning,
                "Aliased check \"b\" failing: y",
            ),
            (
                "worse than a warning",
                &[("a", Warning, "x"), ("b", Critical, "y")],
                Critical,
                "Aliased check \"b\" failing: y",
            ),
            (
                "the first of two",
                &[("a", Critical, ""), ("b", Critical, "y")],
                Critical,
                "Aliased check \"a\" failing: ",
            ),
        ];
        for (name, checks, status, output) in cases {
            let got = look(Some(checks.iter().copied()), "", "web");
            assert_eq!(got, Outcome { status, output: output.to_owned() }, "{name}");
        }
        let unknown = look(None::<[(&str, Status, &str); 0]>, "n1", "web");
        assert_eq!(unknown.output, "Service web could not be found on node n1");
        assert_eq!(unknown.status, Critical);
    }
}
