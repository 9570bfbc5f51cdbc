//! `tailwater token`: makes keys and tokens for trying out, and explains tokens.

mod explain;

use std::fs::OpenOptions;
use std::io::{IsTerminal as _, Read as _, Write as _};
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::{Path, PathBuf};

use access::{Patterns, Timestamp};
use anyhow::{Context as _, Result, ensure};
use aws_lc_rs::encoding::{AsDer as _, PublicKeyX509Der};
use aws_lc_rs::rand::{SecureRandom as _, SystemRandom};
use aws_lc_rs::signature::{
    ECDSA_P256_SHA256_FIXED_SIGNING, EcdsaKeyPair, Ed25519KeyPair, KeyPair as _,
};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use jsonwebtoken::{Algorithm, EncodingKey, Header, encode};
use pem::Pem;
use serde_json::{Map, Value, json};

use crate::args::{KeyArgs, KeyKind, MintArgs, TokenArgs, TokenCommand, TokenSource};
use crate::secret::TextFile;

/// The largest token that is read, in bytes.
const TOKEN_BYTES_MAX: u64 = 64 * 1024;
/// The largest file of a key, in bytes.
const KEY_BYTES_MAX: u64 = 64 * 1024;
/// The size of a secret, in bytes.
const SECRET_BYTES: usize = 32;

/// Runs the command.
pub(crate) fn run(args: TokenArgs) -> Result<()> {
    match args.command {
        TokenCommand::Key(args) => make(&args),
        TokenCommand::Mint(args) => {
            println!("{}", mint(&args)?);
            Ok(())
        }
        TokenCommand::Explain(args) => explain::run(&args),
        TokenCommand::Hash(source) => {
            println!("{}", access::machine_hash(&read_token(&source)?));
            Ok(())
        }
    }
}

/// Makes a key, and says how to go on.
fn make(args: &KeyArgs) -> Result<()> {
    let random = SystemRandom::new();
    let none = "the system has no random numbers";
    let (private, public) = match args.algorithm {
        KeyKind::Hs256 => {
            let mut secret = [0; SECRET_BYTES];
            random.fill(&mut secret).context(none)?;
            (format!("base64:{}\n", STANDARD.encode(secret)), None)
        }
        KeyKind::Es256 => {
            let curve = &ECDSA_P256_SHA256_FIXED_SIGNING;
            let pair = EcdsaKeyPair::generate_pkcs8(curve, &random).context(none)?;
            let key = EcdsaKeyPair::from_pkcs8(curve, pair.as_ref()).context("the new key")?;
            let public: PublicKeyX509Der<'_> = key.public_key().as_der().context("the new key")?;
            (private_pem(pair.as_ref()), Some(public_pem(public.as_ref())))
        }
        KeyKind::Eddsa => {
            let pair = Ed25519KeyPair::generate_pkcs8v1(&random).context(none)?;
            let key = Ed25519KeyPair::from_pkcs8(pair.as_ref()).context("the new key")?;
            let public: PublicKeyX509Der<'_> = key.public_key().as_der().context("the new key")?;
            (private_pem(pair.as_ref()), Some(public_pem(public.as_ref())))
        }
    };
    write(&args.out, &private, 0o600)?;
    let for_node = match public {
        None => args.out.clone(),
        Some(public) => {
            let path = PathBuf::from(format!("{}.pub", args.out.display()));
            write(&path, &public, 0o644)?;
            path
        }
    };
    println!("{} signs tokens: keep it secret", args.out.display());
    println!("{} is for the node: --auth-keys {0}", for_node.display());
    Ok(())
}

fn private_pem(der: &[u8]) -> String {
    pem::encode(&Pem::new("PRIVATE KEY", der))
}

fn public_pem(der: &[u8]) -> String {
    pem::encode(&Pem::new("PUBLIC KEY", der))
}

/// Writes a new file. A file that is there is left alone, because a key cannot be made again.
fn write(path: &Path, text: &str, mode: u32) -> Result<()> {
    let file = OpenOptions::new().write(true).create_new(true).mode(mode).open(path);
    let mut file = file.with_context(|| format!("{}", path.display()))?;
    file.write_all(text.as_bytes()).with_context(|| format!("{}", path.display()))
}

/// Signs a token.
fn mint(args: &MintArgs) -> Result<String> {
    let lists = [
        ("subscribe", &args.subscribe),
        ("publish", &args.publish),
        ("end", &args.end),
        ("presence", &args.presence),
    ];
    let mut rights = Map::new();
    for (right, patterns) in lists {
        Patterns::new(patterns.iter().map(String::as_str)).with_context(|| format!("--{right}"))?;
        if !patterns.is_empty() {
            rights.insert(right.to_owned(), json!(patterns));
        }
    }
    if let Some(history) = &args.history {
        let _checked: access::HistoryExtent = history.parse().context("--history")?;
        rights.insert("history".to_owned(), json!(history));
    }
    if args.admin {
        rights.insert("admin".to_owned(), json!(true));
    }
    ensure!(!args.sub.is_empty(), "--sub is empty");
    let now = Timestamp::now();
    let mut claims = Map::from_iter([
        ("sub".to_owned(), json!(args.sub)),
        ("iat".to_owned(), json!(now.as_seconds())),
        ("exp".to_owned(), json!(now.later(args.expires).as_seconds())),
        (args.claim.clone(), Value::Object(rights)),
    ]);
    for (name, value) in [("iss", &args.issuer), ("aud", &args.audience), ("jti", &args.jti)] {
        if let Some(value) = value {
            claims.insert(name.to_owned(), json!(value));
        }
    }
    let file = TextFile::new("--key", &args.key, KEY_BYTES_MAX);
    let (algorithms, key) = signing(&file.read()?).with_context(|| file.to_string())?;
    let named = |wanted: &Algorithm| args.algorithm.is_none_or(|one| one == *wanted);
    let sign = |algorithm: Algorithm| {
        let header = Header { kid: args.kid.clone(), ..Header::new(algorithm) };
        encode(&header, &claims, &key).ok()
    };
    // A key of a curve signs with one algorithm alone.
    let signed = algorithms.iter().copied().filter(named).find_map(sign);
    signed.with_context(|| match args.algorithm {
        Some(algorithm) => format!("{file}: the key cannot sign with {algorithm:?}"),
        None => format!("{file}: the key cannot sign"),
    })
}

/// Reads a key that signs, and the algorithms of its kind.
fn signing(text: &str) -> Result<(&'static [Algorithm], EncodingKey)> {
    let text = text.trim();
    if text.starts_with("-----BEGIN") {
        let bytes = text.as_bytes();
        let tries = [
            (&EC[..], EncodingKey::from_ec_pem(bytes)),
            (&[Algorithm::EdDSA], EncodingKey::from_ed_pem(bytes)),
            (&RSA, EncodingKey::from_rsa_pem(bytes)),
        ];
        let found = tries.into_iter().find_map(|(kind, key)| Some((kind, key.ok()?)));
        return found.context(
            "it is no private key of an elliptic curve, Ed25519 or RSA in PEM; openssl pkcs8 -topk8 -nocrypt \
             turns other forms into PKCS#8",
        );
    }
    ensure!(!text.starts_with(['{', '[']), "a JWK cannot sign here; give a private key in PEM");
    let secret = match text.strip_prefix("base64:") {
        Some(encoded) => {
            let decoded = STANDARD.decode(encoded.trim());
            decoded.ok().context("the text after base64: is no base64")?
        }
        None => text.as_bytes().to_vec(),
    };
    ensure!(
        secret.len() >= access::SECRET_BYTES_MIN,
        "the secret has {} bytes; it must have at least {}",
        secret.len(),
        access::SECRET_BYTES_MIN
    );
    Ok((&HMAC, EncodingKey::from_secret(&secret)))
}

const EC: [Algorithm; 2] = [Algorithm::ES256, Algorithm::ES384];
const HMAC: [Algorithm; 3] = [Algorithm::HS256, Algorithm::HS384, Algorithm::HS512];
const RSA: [Algorithm; 6] = [
    Algorithm::RS256,
    Algorithm::RS384,
    Algorithm::RS512,
    Algorithm::PS256,
    Algorithm::PS384,
    Algorithm::PS512,
];

/// Reads a token from a file or from standard input, so that it stands in no list of processes.
fn read_token(source: &TokenSource) -> Result<String> {
    let text = match &source.token_file {
        Some(path) => TextFile::new("--token-file", path, TOKEN_BYTES_MAX).read()?,
        None => {
            let input = std::io::stdin();
            if input.is_terminal() {
                eprintln!(
                    "paste the token, then press Enter and Ctrl-D (--token-file FILE reads a file)"
                );
            }
            let mut text = String::new();
            let read = input.take(TOKEN_BYTES_MAX + 1).read_to_string(&mut text);
            let read = read.context("standard input")?;
            let is_small = read as u64 <= TOKEN_BYTES_MAX;
            ensure!(is_small, "standard input has more than {TOKEN_BYTES_MAX} bytes");
            text
        }
    };
    let token = text.trim();
    ensure!(!token.is_empty(), "there is no token: the input is empty");
    Ok(token.strip_prefix("Bearer ").unwrap_or(token).trim().to_owned())
}

#[cfg(test)]
mod tests;
