//! The keyed hash of routing keys.

use core::fmt;

use siphasher::sip::SipHasher13;

/// The secret seed of a table's hash.
///
/// It must be random: a user who knows it can choose keys that all share one slot. It has no effect
/// on what a lookup finds.
#[derive(Clone, Copy)]
pub struct Seed([u64; 2]);

impl Seed {
    /// A seed from 16 random bytes.
    #[must_use]
    pub const fn new(random: [u64; 2]) -> Self {
        Self(random)
    }

    /// SipHash-1-3, which the maps of Rust and Python use against chosen keys.
    pub(crate) fn hash(self, key: &str) -> u64 {
        let Self([first, second]) = self;
        SipHasher13::new_with_keys(first, second).hash(key.as_bytes())
    }
}

impl fmt::Debug for Seed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Seed(..)")
    }
}
