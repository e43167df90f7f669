use rand::SeedableRng;

use super::*;

fn rng(seed: u64) -> ChaCha12Rng {
    ChaCha12Rng::seed_from_u64(seed)
}

fn at(x: f64, height: f64) -> Coordinate {
    let mut place = Coordinate { height, ..Coordinate::default() };
    place.vec[0] = x;
    place
}

fn close(a: f64, b: f64) -> bool {
    (a - b).abs() < 2e-9
}

#[test]
fn distance_is_the_way_through_the_space_and_both_heights() {
    let (a, b) = (at(-0.5, 0.7), at(1.2, 0.3));
    assert!(close(a.distance(&b).as_secs_f64(), 2.7), "{:?}", a.distance(&b));
    assert!(close(b.distance(&a).as_secs_f64(), 2.7));
    assert_eq!(a.distance(&a), Duration::from_secs_f64(1.4), "to its own twin twice the height");
}

#[test]
fn distance_counts_adjustments_unless_they_make_it_negative() {
    let (mut a, mut b) = (at(0.0, 0.0), at(1.0, 0.0));
    (a.adjustment, b.adjustment) = (0.25, -0.5);
    assert_eq!(a.distance(&b), Duration::from_millis(750));
    b.adjustment = -5.0;
    assert_eq!(a.distance(&b), Duration::from_secs(1));
}

#[test]
fn distance_to_nonsense_is_zero_and_no_panic() {
    for x in [f64::NAN, f64::INFINITY, f64::MAX] {
        assert_eq!(at(x, 0.0).distance(&at(0.0, 0.0)), Duration::ZERO);
    }
}

#[test]
fn a_push_moves_along_the_line_between_both_and_scales_the_height() {
    let (mut a, b) = (at(0.0, 0.2), at(2.0, 0.3));
    a.push(1.0, &b, &mut rng(1));
    assert!(close(a.vec[0], -1.0) && close(a.height, (0.2 + 0.3) * 1.0 / 2.0 + 0.2), "{a:?}");
    let mut low = at(0.0, 0.2);
    low.push(-1.9, &b, &mut rng(1));
    assert!(close(low.height, MIN_HEIGHT), "never below the least height: {low:?}");
}

#[test]
fn two_in_one_place_part_in_any_direction_and_keep_their_height() {
    let (mut a, b) = (at(0.0, 0.2), at(0.0, 0.3));
    a.push(1.0, &b, &mut rng(7));
    assert!(close(magnitude(&a.vec), 1.0) && close(a.height, 0.2), "{a:?}");
}

#[test]
fn the_median_of_the_last_three_counts() {
    let mut peer = Peer::default();
    let medians: Vec<f64> = [0.201, 0.200, 0.207, 0.9, 0.202].map(|rtt| peer.median(rtt)).into();
    assert_eq!(medians, [0.201, 0.201, 0.201, 0.207, 0.207]);
}

#[test]
fn the_first_measurement_by_hand() {
    // Both at the origin, both of error 1.5: weight 0.5, distance 2e-5.
    let mut me = Vivaldi::new();
    me.observe("b", &Coordinate::default(), Duration::from_millis(100), &mut rng(3)).unwrap();
    let place = me.place();
    let wrong = (0.1 - 2e-5) / 0.1;
    assert!(close(place.error, 0.25 * 0.5 * wrong + 1.5 * (1.0 - 0.25 * 0.5)), "{place:?}");
    let moved = 0.25 * 0.5 * (0.1 - 2e-5);
    let fallen = ((moved + 2e-5) / GRAVITY_RHO).powi(2);
    assert!((magnitude(&place.vec) - (moved - fallen)).abs() < 1e-7, "{place:?}");
    assert!(close(place.adjustment, (0.1 - moved - 2e-5) / 40.0), "{place:?}");
}

#[test]
fn what_cannot_be_believed_changes_nothing() {
    let mut me = Vivaldi::new();
    let before = me.place().clone();
    let mut bad = Coordinate::default();
    bad.vec[3] = f64::NAN;
    let rtt = Duration::from_millis(1);
    assert_eq!(me.observe("b", &bad, rtt, &mut rng(1)), Err(CoordinateError::Invalid));
    let long = Duration::from_secs(11);
    let refused = me.observe("b", &Coordinate::default(), long, &mut rng(1));
    assert_eq!(refused, Err(CoordinateError::RoundTrip(long)));
    assert_eq!((me.place(), me.of("b")), (&before, None));
}

#[test]
fn a_place_that_became_meaningless_is_reset() {
    let mut me = Vivaldi::new();
    let far = Coordinate { vec: [f64::MAX; DIMENSIONS], ..Coordinate::default() };
    me.observe("liar", &far, Duration::from_millis(1), &mut rng(1)).unwrap();
    assert_eq!((me.place(), me.resets()), (&Coordinate::default(), 1));
}

#[test]
fn others_are_remembered_until_forgotten() {
    let mut me = Vivaldi::new();
    let there = at(0.3, 0.1);
    me.observe("b", &there, Duration::from_millis(10), &mut rng(1)).unwrap();
    assert_eq!(me.of("b"), Some(&there));
    me.forget("b");
    assert_eq!(me.of("b"), None);
}

/// Members on a plane, each with its own way to the network, and every round trip a little late.
#[test]
fn a_pool_learns_its_round_trips() {
    const NODES: usize = 50;
    for seed in 0..5 {
        let chance = &mut rng(seed);
        let places: Vec<(f64, f64, f64)> = (0..NODES)
            .map(|_| {
                let height = chance.random_range(0.000_5..0.005);
                (chance.random_range(0.0..0.1), chance.random_range(0.0..0.1), height)
            })
            .collect();
        let truth = |a: usize, b: usize| {
            let ((ax, ay, ah), (bx, by, bh)) = (places[a], places[b]);
            (ax - bx).hypot(ay - by) + ah + bh
        };
        let mut pool: Vec<Vivaldi> = (0..NODES).map(|_| Vivaldi::new()).collect();
        for _ in 0..600 {
            for me in 0..NODES {
                let other = (me + chance.random_range(1..NODES)) % NODES;
                let rtt = truth(me, other) * chance.random_range(1.0..1.1);
                let there = pool[other].place().clone();
                pool[me].observe(&other.to_string(), &there, Duration::from_secs_f64(rtt), chance).unwrap();
            }
        }
        let mut errors = Vec::new();
        for a in 0..NODES {
            for b in 0..a {
                let estimate = pool[a].place().distance(pool[b].place()).as_secs_f64();
                errors.push((estimate - truth(a, b)).abs() / truth(a, b));
            }
        }
        errors.sort_by(f64::total_cmp);
        let median = errors[errors.len() / 2];
        assert!(median < 0.2, "seed {seed}: the median estimate is off by {:.1} %", median * 100.0);
        assert_eq!(pool.iter().map(Vivaldi::resets).sum::<u64>(), 0, "seed {seed}");
    }
}
