//! Which slot of a cluster a key is in.

/// The slots of a cluster.
pub(crate) const SLOTS: usize = 1 << 14;

/// CRC-16/XMODEM, as the cluster specification of Redis has it, over what is between the braces of
/// the names of `key`: a colon and the key, as far as its first closing brace.
pub(crate) fn slot(key: &[u8]) -> u16 {
    let tag = key.iter().take_while(|&&byte| byte != b'}');
    let crc = tag.fold(step(0, b':'), |crc, &byte| step(crc, byte));
    crc % SLOTS as u16
}

const fn step(crc: u16, byte: u8) -> u16 {
    (crc << 8) ^ TABLE[((crc >> 8) as u8 ^ byte) as usize]
}

const TABLE: [u16; 256] = {
    let mut table = [0; 256];
    let mut byte = 0;
    while byte < 256 {
        let mut crc = (byte as u16) << 8;
        let mut bit = 0;
        while bit < 8 {
            crc = if crc & 0x8000 == 0 { crc << 1 } else { (crc << 1) ^ 0x1021 };
            bit += 1;
        }
        table[byte] = crc;
        byte += 1;
    }
    table
};

/// The name of the key of the limit at `index`: `prefix{:key}:name index`. All limits of a key are in
/// one slot, because what is between the first pair of braces decides about that, and it is never
/// empty. No two keys have a name in common, whatever bytes they are of: the rest behind the last
/// brace is of a known form.
pub(crate) fn name(prefix: &str, key: &[u8], algorithm: char, index: usize) -> Vec<u8> {
    let mut name = Vec::with_capacity(prefix.len() + key.len() + 6);
    name.extend_from_slice(prefix.as_bytes());
    name.extend_from_slice(b"{:");
    name.extend_from_slice(key);
    name.extend_from_slice(b"}:");
    name.push(algorithm as u8);
    name.extend_from_slice(index.to_string().as_bytes());
    name
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn slots_are_those_of_redis() {
        // CLUSTER KEYSLOT p{:orders}:b0, and the check value of the specification.
        let check = b"123456789".iter().fold(0, |crc, &byte| step(crc, byte));
        assert_eq!(check, 0x31c3);
        let name = name("p", b"a}b{c", 'b', 0);
        assert_eq!(name, b"p{:a}b{c}:b0");
        assert_eq!(slot(b"a}b{c"), slot(b"a"));
    }
}
