use proptest::prelude::*;

use super::*;

const SESSION: &[u8] = b"a session";
const NOW: Duration = Duration::from_secs(1_800_000_000);

fn key(byte: u8) -> TicketKey {
    TicketKey::new(&[byte; KEY_BYTES])
}

fn with(bytes: &[u8]) -> Ticketer {
    Ticketer::new(bytes.iter().map(|byte| key(*byte)).collect())
}

#[test]
fn a_ticket_of_one_node_is_read_at_another_with_the_same_key() {
    let ticket = with(&[1]).encrypt(SESSION).unwrap();
    assert_eq!(with(&[1]).decrypt(&ticket).as_deref(), Some(SESSION));
    assert_eq!(with(&[2]).decrypt(&ticket), None, "another key");
}

#[test]
fn the_first_key_encrypts_and_all_decrypt() {
    let ticket = with(&[1, 2]).encrypt(SESSION).unwrap();
    assert_eq!(with(&[1]).decrypt(&ticket).as_deref(), Some(SESSION));
    assert_eq!(with(&[2]).decrypt(&ticket), None);
    assert_eq!(with(&[3, 2, 1]).decrypt(&ticket).as_deref(), Some(SESSION));
}

#[test]
fn tickets_of_a_key_are_read_until_the_key_is_dropped() {
    let ticketer = with(&[1]);
    let old = ticketer.encrypt(SESSION).unwrap();
    ticketer.replace(vec![key(2), key(1)]);
    let new = ticketer.encrypt(SESSION).unwrap();
    assert_eq!(new[..NAME_BYTES], key(2).name);
    assert_eq!(ticketer.decrypt(&old).as_deref(), Some(SESSION));
    ticketer.replace(vec![key(2)]);
    assert_eq!(ticketer.decrypt(&old), None);
    assert_eq!(ticketer.decrypt(&new).as_deref(), Some(SESSION));
}

#[test]
fn a_ticket_shows_neither_its_session_nor_that_two_are_of_one_session() {
    let ticketer = with(&[1]);
    let [first, second] = [(); 2].map(|()| ticketer.encrypt(SESSION).unwrap());
    assert!(!first.windows(SESSION.len()).any(|part| part == SESSION));
    assert!(first[NAME_BYTES..].iter().zip(&second[NAME_BYTES..]).any(|(a, b)| a != b));
}

#[test]
fn a_ticket_expires_by_the_clock_of_the_node_that_reads_it() {
    let ticket = key(1).seal(SESSION, NOW).unwrap();
    let second = Duration::from_secs(1);
    let read = |now| with(&[1]).open(&ticket, now).is_some();
    assert!(read(NOW + LIFETIME) && !read(NOW + LIFETIME + second));
    assert!(read(NOW - LIFETIME) && !read(NOW - LIFETIME - second), "a clock that is behind");
}

#[test]
fn a_ticket_that_was_cut_or_changed_anywhere_is_refused() {
    let ticketer = with(&[1]);
    let ticket = ticketer.encrypt(SESSION).unwrap();
    for length in 0..ticket.len() {
        assert_eq!(ticketer.decrypt(&ticket[..length]), None, "{length} bytes");
    }
    for at in 0..ticket.len() {
        let mut changed = ticket.clone();
        changed[at] ^= 1;
        assert_eq!(ticketer.decrypt(&changed), None, "byte {at}");
    }
}

#[test]
fn a_ticket_longer_than_any_session_is_not_decrypted() {
    let ticketer = with(&[1]);
    let overhead = ticketer.encrypt(b"").unwrap().len();
    let decrypts = |bytes: usize| {
        let ticket = ticketer.encrypt(&vec![7; bytes - overhead]).unwrap();
        ticketer.decrypt(&ticket).is_some()
    };
    assert!(decrypts(TICKET_BYTES_MAX) && !decrypts(TICKET_BYTES_MAX + 1));
}

#[test]
fn a_ticketer_shows_how_many_keys_it_has_and_none_of_them() {
    assert_eq!(format!("{:?}", with(&[1, 2])), "Ticketer { keys: 2, .. }");
}

proptest! {
    #[test]
    fn random_bytes_are_no_ticket(mut bytes in prop::collection::vec(any::<u8>(), 0..1100), named in any::<bool>()) {
        let ticketer = with(&[1, 2]);
        // With the name of a key, the bytes reach the cipher.
        if named && bytes.len() >= NAME_BYTES {
            bytes[..NAME_BYTES].copy_from_slice(&key(2).name);
        }
        prop_assert_eq!(ticketer.decrypt(&bytes), None);
    }

    #[test]
    fn every_session_survives_encryption_and_decryption(session in prop::collection::vec(any::<u8>(), 0..900)) {
        let ticketer = with(&[1]);
        let ticket = ticketer.encrypt(&session).unwrap();
        prop_assert_eq!(ticketer.decrypt(&ticket), Some(session));
    }
}
