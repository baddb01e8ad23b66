//! Which HTTPRoute of a Service holds which keys.
//!
//! A function of the keys alone, so that a controller that starts anew, `sync` and `compile` all
//! agree; and one key more or less rewrites one HTTPRoute. Filling HTTPRoutes one after the other
//! would rewrite all behind it. So the keys' hashes are a number line, which is halved, and halved
//! again, until no piece has too many; a piece is named after where it begins. One key more goes
//! into its piece, or halves it: the lower half keeps the name, the upper one is new. One key less
//! leaves its piece, or joins it with its neighbour.
//!
//! A piece is two thirds full on average. The alternative, to remember what is where and fill the
//! holes, packs more tightly, but makes the routes a function of history.

use skycap_core::key::RoutingKey;

/// Where a piece begins on the line of hashes; its name.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Place(u64);

/// Hexadecimal digits without the zeros at their end: `0`, `8`, `c4`.
impl std::fmt::Display for Place {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let digits = format!("{:016x}", self.0);
        let digits = digits.trim_end_matches('0');
        f.write_str(if digits.is_empty() { "0" } else { digits })
    }
}

/// The keys in pieces of at most `capacity`, the keys of each in their order.
///
/// Each item is a key and whatever goes with it.
pub fn pack<T>(items: Vec<(RoutingKey, T)>, capacity: usize) -> Vec<(Place, Vec<(RoutingKey, T)>)> {
    let mut hashed: Vec<_> =
        items.into_iter().map(|item| (hash(item.0.as_bytes()), item)).collect();
    hashed.sort_by_key(|(hash, _)| *hash);
    let mut pieces = Vec::new();
    halve(hashed, 0, u64::BITS, capacity.max(1), &mut pieces);
    for (_, piece) in &mut pieces {
        piece.sort_by_key(|(key, _)| *key);
    }
    pieces
}

type Pieces<T> = Vec<(Place, Vec<(RoutingKey, T)>)>;

fn halve<T>(
    mut items: Vec<(u64, (RoutingKey, T))>,
    start: u64,
    bits: u32,
    capacity: usize,
    pieces: &mut Pieces<T>,
) {
    // Equal hashes of 64 bits cannot be parted; sixteen of them are nobody's concern.
    if items.len() <= capacity || bits == 0 {
        if !items.is_empty() {
            pieces.push((Place(start), items.into_iter().map(|(_, item)| item).collect()));
        }
        return;
    }
    let middle = start + (1 << (bits - 1));
    let upper = items.split_off(items.partition_point(|(hash, _)| *hash < middle));
    halve(items, start, bits - 1, capacity, pieces);
    halve(upper, middle, bits - 1, capacity, pieces);
}

/// FNV-1a of 64 bits, mixed: its high bits, which part the keys, hardly depend on the last byte.
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
