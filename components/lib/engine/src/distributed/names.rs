//! Which names an agent may know: a Bloom filter of them.

/// Names of one agent: of its pods, services and containers, with and without their namespaces. Told to be absent, a name is; told to be
/// there, it may not be.
///
/// Bit `i` of an entry is its XXH64 with seed `i`, modulo the bits. Reference: `shared/bloomfilter`, which says no more than "seeded".
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NamesFilter {
    bits: Vec<u8>,
    hashes: u32,
}

/// Hashes of one entry: more than any error rate needs, and a limit for what comes over the wire.
const HASHES_MAX: u32 = 32;
/// Bytes of a filter that comes over the wire: a million names at one in a million.
const BYTES_MAX: usize = 4 * 1024 * 1024;

impl NamesFilter {
    /// Empty, for so many names; with that many, one in a hundred of those that are absent is told to be there. Reference: 10,000 names,
    /// 1 %.
    pub fn for_names(names_max: usize) -> Self {
        // Bits for each name, and hashes, at an error of 1 %: -ln(0.01) / ln(2)^2 and 9.59 ln(2).
        let bits = (names_max.max(1) as f64 * 9.585).ceil() as usize;
        Self { bits: vec![0; bits.div_ceil(8).min(BYTES_MAX)], hashes: 7 }
    }

    /// As another wrote it. None if it cannot be one.
    pub fn from_parts(bits: Vec<u8>, hashes: u32) -> Option<Self> {
        ((1..=BYTES_MAX).contains(&bits.len()) && (1..=HASHES_MAX).contains(&hashes)).then_some(Self { bits, hashes })
    }

    /// For the wire.
    pub fn parts(&self) -> (&[u8], u32) {
        (&self.bits, self.hashes)
    }

    /// Adds a name.
    pub fn insert(&mut self, name: &str) {
        for seed in 0..self.hashes {
            let (byte, bit) = self.place(name, seed);
            if let Some(byte) = self.bits.get_mut(byte) {
                *byte |= 1 << bit;
            }
        }
    }

    /// Whether the name may have been added.
    pub fn may_have(&self, name: &str) -> bool {
        (0..self.hashes).all(|seed| {
            let (byte, bit) = self.place(name, seed);
            self.bits.get(byte).is_some_and(|byte| byte & (1 << bit) != 0)
        })
    }

    fn place(&self, name: &str, seed: u32) -> (usize, u32) {
        let bit = xxh64(name.as_bytes(), u64::from(seed)) % (self.bits.len() as u64 * 8);
        ((bit / 8) as usize, (bit % 8) as u32)
    }
}

const PRIMES: [u64; 5] =
    [0x9E37_79B1_85EB_CA87, 0xC2B2_AE3D_27D4_EB4F, 0x1656_67B1_9E37_79F9, 0x85EB_CA77_C2B2_AE63, 0x27D4_EB2F_1656_67C5];

/// Source: the XXH64 specification, xxHash 0.1.1. Only arrow's compression links a crate that has it, with that hash left out.
fn xxh64(bytes: &[u8], seed: u64) -> u64 {
    let [p1, p2, p3, p4, p5] = PRIMES;
    let round = |lane: u64, word: u64| lane.wrapping_add(word.wrapping_mul(p2)).rotate_left(31).wrapping_mul(p1);
    let (stripes, mut tail) = bytes.as_chunks::<32>();
    let mut hash = if stripes.is_empty() {
        seed.wrapping_add(p5)
    } else {
        let mut lanes = [seed.wrapping_add(p1).wrapping_add(p2), seed.wrapping_add(p2), seed, seed.wrapping_sub(p1)];
        for stripe in stripes {
            for (lane, word) in lanes.iter_mut().zip(stripe.as_chunks::<8>().0) {
                *lane = round(*lane, u64::from_le_bytes(*word));
            }
        }
        let turns = [1, 7, 12, 18];
        let hash = lanes.iter().zip(turns).fold(0_u64, |hash, (lane, turn)| hash.wrapping_add(lane.rotate_left(turn)));
        lanes.iter().fold(hash, |hash, lane| (hash ^ round(0, *lane)).wrapping_mul(p1).wrapping_add(p4))
    };
    hash = hash.wrapping_add(bytes.len() as u64);
    while let Some((word, rest)) = tail.split_first_chunk::<8>() {
        hash = (hash ^ round(0, u64::from_le_bytes(*word))).rotate_left(27).wrapping_mul(p1).wrapping_add(p4);
        tail = rest;
    }
    if let Some((word, rest)) = tail.split_first_chunk::<4>() {
        hash = (hash ^ u64::from(u32::from_le_bytes(*word)).wrapping_mul(p1)).rotate_left(23).wrapping_mul(p2).wrapping_add(p3);
        tail = rest;
    }
    for byte in tail {
        hash = (hash ^ u64::from(*byte).wrapping_mul(p5)).rotate_left(11).wrapping_mul(p1);
    }
    hash = (hash ^ (hash >> 33)).wrapping_mul(p2);
    hash = (hash ^ (hash >> 29)).wrapping_mul(p3);
    hash ^ (hash >> 32)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_hash_is_the_published_one() {
        // From the specification's own test program: the sanity buffer, by length and seed.
        let mut generator: u64 = 0x9E37_79B1;
        let sanity: Vec<u8> = (0..222)
            .map(|_| {
                let byte = (generator >> 56) as u8;
                generator = generator.wrapping_mul(0x9E37_79B1_85EB_CA8D);
                byte
            })
            .collect();
        assert_eq!(xxh64(b"", 0), 0xEF46_DB37_51D8_E999);
        assert_eq!(xxh64(b"abc", 0), 0x44BC_2CF5_AD77_0999);
        assert_eq!(xxh64(&sanity[..0], 0x9E37_79B1), 0xAC75_FDA2_929B_17EF);
        assert_eq!(xxh64(&sanity[..1], 0), 0xE934_A84A_DB05_2768);
        assert_eq!(xxh64(&sanity[..14], 0), 0x8282_DCC4_994E_35C8);
        assert_eq!(xxh64(&sanity, 0), 0xB641_AE8C_B691_C174);
    }

    #[test]
    fn a_name_that_was_added_is_there_and_few_others_seem_to_be() {
        let mut filter = NamesFilter::for_names(1000);
        let name = |number: usize| format!("namespace/pod-{number}");
        (0..1000).for_each(|number| filter.insert(&name(number)));
        assert!((0..1000).all(|number| filter.may_have(&name(number))));
        let wrong = (1000..11_000).filter(|number| filter.may_have(&name(*number))).count();
        assert!((20..250).contains(&wrong), "{wrong} of 10000");
        let (bits, hashes) = filter.parts();
        assert_eq!(NamesFilter::from_parts(bits.to_vec(), hashes), Some(filter));
    }

    #[test]
    fn what_cannot_be_a_filter_is_none() {
        for (bits, hashes) in [(vec![], 3), (vec![1], 0), (vec![1], 1000)] {
            assert_eq!(NamesFilter::from_parts(bits, hashes), None);
        }
    }
}
