//! `Split` and `Gather`: splitting any value anywhere and gathering the parts gives the value back.

use std::collections::{BTreeMap, BTreeSet, HashMap, HashSet, VecDeque};
use std::fmt::Debug;
use std::ops::{Range, RangeInclusive};

use fanfold::{Gather, Split, zip};
use proptest::collection::vec;
use proptest::prelude::*;

/// Sizes that add up to `size`, split at `places`; some may be 0.
fn sizes(size: usize, places: &[usize]) -> Vec<usize> {
    let mut places: Vec<usize> = places.iter().map(|place| place % (size + 1)).collect();
    places.sort_unstable();
    places.push(size);
    let mut from = 0;
    places.into_iter().map(|to| to - std::mem::replace(&mut from, to)).collect()
}

/// Splits the value at the places, with one `cut_all` and with one `cut` at the first place. The pieces have the
/// requested sizes, and their items in order are those of the whole.
fn check_split<S, T>(make: impl Fn() -> S, places: &[usize], items: impl Fn(S) -> Vec<T>)
where
    S: Split,
    T: PartialEq + Debug,
{
    let sizes = sizes(make().size(), places);
    let pieces = make().cut_all(&sizes);
    assert_eq!(pieces.iter().map(Split::size).collect::<Vec<_>>(), sizes);
    assert_eq!(pieces.into_iter().flat_map(&items).collect::<Vec<_>>(), items(make()));

    let (head, tail) = make().cut(sizes[0]);
    assert_eq!((head.size(), tail.size()), (sizes[0], make().size() - sizes[0]));
    let mut both = items(head);
    both.extend(items(tail));
    assert_eq!(both, items(make()));
}

/// Checks that gathering `part` of each piece gives `part` of the whole.
fn check_gather<R: Gather + PartialEq + Debug>(numbers: &[u8], places: &[usize], part: impl Fn(&[u8]) -> R) {
    let pieces = Split::cut_all(numbers, &sizes(numbers.len(), places));
    let gathered = R::gather(pieces.into_iter().map(&part).collect()).expect("parts of one function fit");
    assert_eq!(gathered, part(numbers));
}

macro_rules! ranges {
    ($($integer:ident)*) => {
        #[test]
        fn ranges_of_every_integer_type_are_split_at_both_limits() {
            $(
                let (low, high) = ($integer::MIN, $integer::MAX);
                for range in [low..low + 9, high - 9..high, low..low, high..low] {
                    check_split(|| range.clone(), &[3, 4, 4, 8], |range: Range<$integer>| range.collect());
                }
                for range in [low..=low + 9, high - 9..=high, high..=high, high..=low] {
                    check_split(|| range.clone(), &[3, 4, 4, 8], |range: RangeInclusive<$integer>| range.collect());
                }
            )*
        }
    };
}
ranges!(u8 u16 u32 u64 u128 usize i8 i16 i32 i64 i128 isize);

fn by_last_digit<M: Default>(part: &[u8], mut add: impl FnMut(&mut M, u8, u8)) -> M {
    let mut map = M::default();
    part.iter().for_each(|n| add(&mut map, n % 10, *n));
    map
}

proptest! {
    #[test]
    fn sequences_are_split_anywhere(numbers in vec(any::<u16>(), 0..60), places in vec(any::<usize>(), 0..6)) {
        check_split(|| numbers.clone(), &places, |piece| piece);
        check_split(|| &numbers[..], &places, <[u16]>::to_vec);
        check_split(|| VecDeque::from(numbers.clone()), &places, Vec::from);
        // A queue whose items wrap around in its buffer.
        let wrapped = || {
            let mut queue: VecDeque<u16> = numbers.iter().copied().chain([1, 2]).collect();
            queue.rotate_left(numbers.len() / 2);
            queue
        };
        check_split(wrapped, &places, Vec::from);
    }

    #[test]
    fn mutable_slices_are_split_anywhere(numbers in vec(any::<u16>(), 0..60), places in vec(any::<usize>(), 0..6)) {
        let mut changed = numbers.clone();
        let sizes = sizes(numbers.len(), &places);
        for (index, piece) in Split::cut_all(&mut changed[..], &sizes).into_iter().enumerate() {
            assert_eq!(piece.len(), sizes[index]);
            piece.iter_mut().for_each(|n| *n = n.wrapping_add(1));
        }
        assert_eq!(changed, numbers.iter().map(|n| n.wrapping_add(1)).collect::<Vec<_>>());
    }

    #[test]
    fn ranges_are_split_anywhere(start in any::<i32>(), length in 0..80_i32, places in vec(any::<usize>(), 0..6)) {
        let end = start.saturating_add(length);
        check_split(|| start..end, &places, Iterator::collect);
        check_split(|| start..=end, &places, Iterator::collect);
    }

    #[test]
    fn text_is_split_between_lines(
        text in "([a-z\u{e4}]{0,4}(\n|\r\n|\n\n)?){0,12}",
        places in vec(any::<usize>(), 0..6),
    ) {
        check_split(|| &*text, &places, |piece| piece.lines().map(str::to_owned).collect());
        check_split(|| text.clone(), &places, |piece| piece.lines().map(str::to_owned).collect());
        let pieces = Split::cut_all(&*text, &sizes(Split::size(&&*text), &places));
        prop_assert_eq!(pieces.concat(), text);
    }

    #[test]
    fn zips_are_split_anywhere(numbers in vec(any::<u16>(), 0..60), places in vec(any::<usize>(), 0..6)) {
        let length = u32::try_from(numbers.len()).expect("it is short");
        check_split(|| zip(numbers.clone(), 0..length), &places, |piece| piece.0.into_iter().zip(piece.1).collect());
    }

    #[test]
    fn sequences_and_text_are_gathered_in_order(
        numbers in vec(any::<u8>(), 0..60),
        places in vec(any::<usize>(), 0..6),
    ) {
        check_gather(&numbers, &places, <[u8]>::to_vec);
        check_gather(&numbers, &places, |part| part.iter().copied().collect::<VecDeque<_>>());
        check_gather(&numbers, &places, |part| part.iter().map(u8::to_string).collect::<String>());
        check_gather(&numbers, &places, |_| ());
    }

    #[test]
    fn sets_and_maps_are_merged(numbers in vec(any::<u8>(), 0..60), places in vec(any::<usize>(), 0..6)) {
        check_gather(&numbers, &places, |part| part.iter().copied().collect::<HashSet<_>>());
        check_gather(&numbers, &places, |part| part.iter().copied().collect::<BTreeSet<_>>());
        check_gather(&numbers, &places, |part| {
            by_last_digit(part, |map: &mut HashMap<u8, Vec<u8>>, key, n| map.entry(key).or_default().push(n))
        });
        check_gather(&numbers, &places, |part| {
            by_last_digit(part, |map: &mut BTreeMap<u8, Vec<u8>>, key, n| map.entry(key).or_default().push(n))
        });
    }

    #[test]
    fn tuples_options_and_results_are_gathered(
        numbers in vec(any::<u8>(), 0..60),
        places in vec(any::<usize>(), 0..6),
    ) {
        check_gather(&numbers, &places, |part| (part.to_vec(), part.iter().copied().collect::<BTreeSet<_>>()));
        check_gather(&numbers, &places, |part| Some(part.to_vec()));
        check_gather(&numbers, &places, |part| Ok::<_, String>(part.to_vec()));
    }

    #[test]
    fn the_first_failure_is_the_gathered_result(
        numbers in vec(any::<u8>(), 1..60),
        places in vec(any::<usize>(), 0..6),
        bad in any::<u8>(),
    ) {
        // Like the runtime, this keeps no part after a failure.
        let item = |n: &u8| if *n == bad { Err(*n) } else { Ok(*n) };
        let part = |part: &[u8]| part.iter().map(item).collect::<Result<Vec<_>, _>>();
        let pieces = Split::cut_all(&numbers[..], &sizes(numbers.len(), &places));
        let mut parts: Vec<_> = pieces.into_iter().map(part).collect();
        let failure = parts.iter().position(Gather::is_failure);
        prop_assert_eq!(failure.is_some(), numbers.contains(&bad));
        if let Some(failure) = failure {
            parts = vec![parts.swap_remove(failure)];
        }
        let gathered = Gather::gather(parts).expect("they fit");
        prop_assert_eq!(&gathered, &part(&numbers));

        let pieces = Split::cut_all(&numbers[..], &sizes(numbers.len(), &places));
        let options: Vec<_> = pieces.into_iter().map(part).map(Result::ok).collect();
        let failure = options.iter().position(Gather::is_failure);
        let options = failure.map_or(options, |_| vec![None]);
        prop_assert_eq!(Gather::gather(options).expect("they fit"), gathered.ok());
    }
}
