//! Drawing from a pool in random order, every entry once, the heavier ones earlier.
//!
//! Consul shuffles evenly and leaves weights to the clients of SRV. Here the order respects them for
//! every type: the chance to come first, and then the chance to come next, is in proportion to the
//! weight. With equal weights (the default) that is the even shuffle. Drawing `k` of `n` takes time by `k`
//! only, as long as `k` is small.

use rand::RngExt;
use rand::rngs::SmallRng;
use smallvec::SmallVec;

/// Up to so many are drawn one by one; beyond it the whole pool is put in order.
const ONE_BY_ONE: usize = 48;

/// Positions in a pool, as drawn.
pub type Picked = SmallVec<[u32; 16]>;

/// Draws `want` of `count` positions. `cumulative` holds the sums of the weights; none: all are alike.
pub fn pick(count: usize, cumulative: Option<&[u64]>, want: usize, rng: &mut SmallRng) -> Picked {
    let want = want.min(count);
    if want == 0 {
        return Picked::new();
    }
    if want <= ONE_BY_ONE {
        return one_by_one(count, cumulative, want, rng);
    }
    let all = 0..u32::try_from(count).unwrap_or(u32::MAX);
    match cumulative {
        None => {
            let mut order: Picked = all.collect();
            for at in 0..want.min(order.len()) {
                let other = rng.random_range(at..order.len());
                order.swap(at, other);
            }
            order.truncate(want);
            order
        }
        Some(sums) => {
            // The exponential race: an entry arrives the sooner the heavier it is.
            let mut before = 0;
            let arrivals = all.zip(sums).map(|(at, sum)| {
                let weight = (sum - before).max(1);
                before = *sum;
                let chance: f64 = rng.random_range(f64::MIN_POSITIVE..1.0);
                #[expect(clippy::cast_precision_loss, reason = "a chance need not be exact")]
                let arrival = -chance.ln() / weight as f64;
                (arrival, at)
            });
            let mut arrivals: Vec<(f64, u32)> = arrivals.collect();
            arrivals.sort_unstable_by(|one, other| one.0.total_cmp(&other.0));
            arrivals.into_iter().take(want).map(|(_, at)| at).collect()
        }
    }
}

/// Draws a point on the line of all weights that are left; what was drawn before is stepped over.
fn one_by_one(count: usize, cumulative: Option<&[u64]>, want: usize, rng: &mut SmallRng) -> Picked {
    let even = |at: usize| at as u64 + 1;
    let upto = |at: usize| cumulative.map_or_else(|| even(at), |sums| sums.get(at).copied().unwrap_or(0));
    let start = |at: usize| at.checked_sub(1).map_or(0, upto);
    let mut left = upto(count - 1);
    let mut picked = Picked::with_capacity(want);
    // What was drawn: (where it starts on the line, its weight), by place.
    let mut gone: SmallVec<[(u64, u64); 16]> = SmallVec::new();
    for _ in 0..want {
        let mut point = rng.random_range(0..left.max(1));
        let mut place = 0;
        for (begin, weight) in &gone {
            if point < *begin {
                break;
            }
            point += weight;
            place += 1;
        }
        let at = match cumulative {
            None => usize::try_from(point).unwrap_or(0).min(count - 1),
            Some(sums) => sums.partition_point(|sum| *sum <= point).min(count - 1),
        };
        let (begin, weight) = (start(at), upto(at) - start(at));
        gone.insert(place.min(gone.len()), (begin, weight));
        left -= weight.min(left);
        picked.push(u32::try_from(at).unwrap_or(u32::MAX));
    }
    picked
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    use proptest::prelude::*;
    use rand::SeedableRng;

    use super::*;

    fn sums(weights: &[u64]) -> Vec<u64> {
        weights
            .iter()
            .scan(0, |total, weight| {
                *total += weight;
                Some(*total)
            })
            .collect()
    }

    /// How often each comes first in 100,000 draws of `want`.
    fn firsts(weights: &[u64], even: bool, want: usize) -> Vec<usize> {
        let sums = sums(weights);
        let mut rng = SmallRng::seed_from_u64(7);
        let mut firsts = vec![0; weights.len()];
        for _ in 0..100_000 {
            let picked = pick(weights.len(), (!even).then_some(&sums[..]), want, &mut rng);
            firsts[picked[0] as usize] += 1;
        }
        firsts
    }

    #[test]
    fn even_shuffles_are_fair() {
        for want in [1, 3, 10] {
            for (at, first) in firsts(&[1; 10], true, want).into_iter().enumerate() {
                assert!((9_500..10_500).contains(&first), "{at} leads {first} of 100,000 times");
            }
        }
    }

    #[test]
    fn heavier_ones_lead_in_proportion() {
        let light_and_heavy = firsts(&[1, 10, 1, 10, 5], false, 5);
        let want = [1, 10, 1, 10, 5].map(|weight| weight * 100_000 / 27);
        for (found, want) in light_and_heavy.into_iter().zip(want) {
            assert!(found.abs_diff(want) < 600, "{found} instead of {want}");
        }
    }

    #[test]
    fn the_second_is_as_fair_as_the_first() {
        // Of 1, 2, 3 the last comes second with 1/6 * 3/5 + 2/6 * 3/4 = 0.35.
        let sums = sums(&[1, 2, 3]);
        let mut rng = SmallRng::seed_from_u64(3);
        let second = (0..100_000).filter(|_| pick(3, Some(&sums), 2, &mut rng)[1] == 2).count();
        assert!(second.abs_diff(35_000) < 600, "{second}");
    }

    #[test]
    fn the_race_is_as_fair() {
        let weights: Vec<u64> = (0..60).map(|at| if at == 7 { 10 } else { 1 }).collect();
        let sums = sums(&weights);
        let mut rng = SmallRng::seed_from_u64(5);
        let first = (0..20_000).filter(|_| pick(60, Some(&sums), 60, &mut rng)[0] == 7).count();
        assert!(first.abs_diff(20_000 * 10 / 69) < 250, "{first}");
    }

    proptest! {
        #[test]
        fn draws_every_position_once(
            weights in proptest::collection::vec(1_u64..20_000_000, 1..200),
            want in 0_usize..250,
            even: bool,
            seed: u64,
        ) {
            let sums = sums(&weights);
            let mut rng = SmallRng::seed_from_u64(seed);
            let picked = pick(weights.len(), (!even).then_some(&sums[..]), want, &mut rng);
            prop_assert_eq!(picked.len(), want.min(weights.len()));
            prop_assert!(picked.iter().all(|at| (*at as usize) < weights.len()));
            prop_assert_eq!(picked.iter().collect::<HashSet<_>>().len(), picked.len());
        }
    }
}
