//! Which HTTPRoute of a Service holds which keys.
//!
//! The packing depends only on the keys, so `compile`, `sync` and a restarted controller agree. And
//! adding or removing one key rewrites only one HTTPRoute; filling HTTPRoutes in order would
//! rewrite all that follow.
//!
//! The hash of a key is a point on a number line. The line is halved, and its halves are halved
//! again, until no segment has too many keys. The name of a segment is its start. An added key goes
//! into its segment or halves it: then the lower half keeps the name, and the upper half is new. A
//! removed key leaves its segment, or merges it with its neighbor.
//!
//! A segment is two thirds full on average. Filling the gaps that removed keys leave would pack
//! more tightly, but then the routes would depend on history.

use skycap_core::key::RoutingKey;

/// The start of a segment on the number line of hashes; it names the segment.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct SegmentStart(u64);

/// Hexadecimal digits without trailing zeros: `0`, `8`, `c4`.
impl std::fmt::Display for SegmentStart {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let digits = format!("{:016x}", self.0);
        let digits = digits.trim_end_matches('0');
        f.write_str(if digits.is_empty() { "0" } else { digits })
    }
}

/// Keys, each with the value that belongs to it, in segments.
pub type Segments<T> = Vec<(SegmentStart, Vec<(RoutingKey, T)>)>;

/// Divides the keys into segments of at most `capacity` keys; the keys of a segment are sorted.
#[must_use]
pub fn pack<T>(items: Vec<(RoutingKey, T)>, capacity: usize) -> Segments<T> {
    let mut hashed: Vec<_> =
        items.into_iter().map(|item| (hash(item.0.as_bytes()), item)).collect();
    hashed.sort_by_key(|(hash, _)| *hash);
    let mut segments = Vec::new();
    halve(hashed, 0, u64::BITS, capacity.max(1), &mut segments);
    for (_, keys) in &mut segments {
        keys.sort_by_key(|(key, _)| *key);
    }
    segments
}

fn halve<T>(
    mut items: Vec<(u64, (RoutingKey, T))>,
    start: u64,
    bits: u32,
    capacity: usize,
    segments: &mut Segments<T>,
) {
    // Keys with equal hashes of 64 bits cannot be divided. More than `capacity` of them do not
    // occur by chance.
    if items.len() <= capacity || bits == 0 {
        if !items.is_empty() {
            let keys = items.into_iter().map(|(_, item)| item).collect();
            segments.push((SegmentStart(start), keys));
        }
        return;
    }
    let middle = start + (1 << (bits - 1));
    let upper = items.split_off(items.partition_point(|(hash, _)| *hash < middle));
    halve(items, start, bits - 1, capacity, segments);
    halve(upper, middle, bits - 1, capacity, segments);
}

/// FNV-1a of 64 bits, mixed: the keys are divided by the high bits, which in plain FNV-1a hardly
/// depend on the last byte.
fn hash(bytes: &[u8]) -> u64 {
    let mut hash = bytes.iter().fold(0xcbf2_9ce4_8422_2325, |hash: u64, byte| {
        (hash ^ u64::from(*byte)).wrapping_mul(0x0100_0000_01b3)
    });
    // The finalizer of MurmurHash3.
    for factor in [0xff51_afd7_ed55_8ccd, 0xc4ce_b9fe_1a85_ec53] {
        hash = (hash ^ hash >> 33).wrapping_mul(factor);
    }
    hash ^ hash >> 33
}
