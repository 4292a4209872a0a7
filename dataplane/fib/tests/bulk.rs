//! All ways of looking up in bulk give the answers of single look-ups.

mod oracle;

use millrace_fib::{Bulk, Geometry, GroupId, Owned, Quiescence, Writer};
use oracle::{Rng, SMALL, corners, glean_groups};
use proptest::prelude::*;

#[test]
fn the_plain_way_is_always_there() {
    assert!(Bulk::Prefetch.is_available());
    let there: Vec<_> = Bulk::ALL.iter().filter(|bulk| bulk.is_available()).collect();
    println!("ways of this CPU: {there:?}");
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 48, ..ProptestConfig::default() })]
    #[test]
    fn all_ways_agree(seed: u64, len in 0usize..200, room in 0usize..200, anywhere in prop::collection::vec(any::<u32>(), 20)) {
        let owned = Owned::new(Geometry { tbl8_groups: 64, ..SMALL }).unwrap();
        let mut writer = Writer::new(owned.memory(), Quiescence::new(0));
        let groups = glean_groups(&mut writer, 50);
        let mut rng = Rng(seed);
        let mut addresses = anywhere;
        for _ in 0..60 {
            let prefix = rng.prefix();
            addresses.extend(corners(prefix));
            let _ = writer.route_insert(prefix, groups[rng.index(groups.len())]);
        }
        let addresses: Vec<_> = (0..len).map(|_| addresses[rng.index(addresses.len())]).collect();
        let reader = writer.reader();
        let untouched = GroupId::default();
        let mut expected = vec![untouched; room];
        for (address, group) in addresses.iter().zip(&mut expected) {
            *group = reader.lookup(*address);
        }
        for &bulk in Bulk::ALL {
            let Some(reader) = reader.with_bulk(bulk) else { continue };
            let mut found = vec![untouched; room];
            reader.lookup_bulk(&addresses, &mut found);
            prop_assert_eq!(&found, &expected, "{:?}", bulk);
        }
    }
}
