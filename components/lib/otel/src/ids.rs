//! Ids of traces and spans.

/// The bytes of `text`, if it is so many bytes in hexadecimal digits and not all of them zero, which OTLP forbids.
pub(crate) fn parse<const N: usize>(text: &str) -> Option<Vec<u8>> {
    let digits = text.as_bytes();
    if digits.len() != 2 * N {
        return None;
    }
    let digit = |byte: u8| char::from(byte).to_digit(16).map(|digit| digit as u8);
    let bytes: Option<Vec<u8>> = digits.chunks_exact(2).map(|pair| Some(digit(pair[0])? << 4 | digit(pair[1])?)).collect();
    bytes.filter(|bytes| bytes.iter().any(|byte| *byte != 0))
}

/// One that nothing else has.
pub(crate) fn random<const N: usize>() -> Vec<u8> {
    let mut bytes = vec![0; N];
    rand::RngCore::fill_bytes(&mut rand::thread_rng(), &mut bytes);
    bytes
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_id_is_so_many_digits_and_not_zero() {
        assert_eq!(parse::<2>("00fF"), Some(vec![0, 255]));
        for wrong in ["", "0", "00", "000", "00000", "0000", "00g0", "+1+1", "\u{e9}\u{e9}"] {
            assert_eq!(parse::<2>(wrong), None, "{wrong}");
        }
        assert_eq!(random::<16>().len(), 16);
    }
}
