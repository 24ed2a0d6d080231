//! Passwords and tokens of users without a certificate.
//!
//! Passwords are the `passwd` rows of key `xcat`; tokens are rows of the table `token` with a lifetime of
//! `site.tokenexpiredays` days (default 1, `never` allowed).

use dawn_cluster::{Change, Edit, Model, ModelError, Snapshot, col};
use dawn_wire::secret;
use dawn_xcatd::Credentials;

/// Days a token lives without a setting.
const TOKEN_DAYS_DEFAULT: i64 = 1;
/// Days a token lives at most with a number as setting.
const TOKEN_DAYS_MAX: i64 = 3650;

/// Rounds of SHA-512 crypt when the hash names none, and what is accepted: a log-in must stay cheap.
const ROUNDS_DEFAULT: usize = 5_000;
const ROUNDS_MIN: usize = 1_000;
const ROUNDS_MAX: usize = 1_000_000;

/// The password is that of the user's row. Compared in a time that does not depend on where they differ.
pub(super) fn check_password(snapshot: &Snapshot, user: &Credentials) -> bool {
    let (key, name) = (col::passwd::KEY, col::passwd::USERNAME);
    let Some(row) = snapshot.find_row(&[(key, "xcat"), (name, &user.username)]) else { return false };
    let Some(stored) = row.get(col::passwd::PASSWORD) else { return false };
    if stored.starts_with('$') {
        return verify_hash(user.password.reveal(), stored);
    }
    secret::equal(stored.as_bytes(), user.password.reveal().as_bytes())
}

/// SHA-512 crypt (`$6$[rounds=N$]salt$hash`); other methods are not accepted.
fn verify_hash(password: &str, stored: &str) -> bool {
    let Some(rest) = stored.strip_prefix("$6$") else { return false };
    let (rounds, rest) = match rest.strip_prefix("rounds=").and_then(|rest| rest.split_once('$')) {
        Some((rounds, rest)) => (rounds.parse().unwrap_or(0), rest),
        None => (ROUNDS_DEFAULT, rest),
    };
    let Some((salt, hash)) = rest.split_once('$') else { return false };
    if !(ROUNDS_MIN..=ROUNDS_MAX).contains(&rounds) {
        return false;
    }
    let Ok(params) = sha_crypt::Sha512Params::new(rounds) else { return false };
    let made = sha_crypt::sha512_crypt_b64(password.as_bytes(), salt.as_bytes(), &params);
    made.is_ok_and(|made| secret::equal(made.as_bytes(), hash.as_bytes()))
}

/// User of a token that has not expired.
pub(super) fn user_of(snapshot: &Snapshot, token: &str) -> Option<String> {
    let row = snapshot.find_row(&[(col::token::TOKENID, token)])?;
    let expire = row.get(col::token::EXPIRE)?;
    let valid = expire.as_ref() == "never" || expire.parse::<i64>().is_ok_and(|end| end > now());
    if !valid {
        return None;
    }
    row.get(col::token::USERNAME).map(|user| user.to_string())
}

/// Why a token cannot be made.
#[derive(Debug, thiserror::Error)]
pub(super) enum TokenError {
    /// The machine gives no random numbers.
    #[error("no random numbers: {0}")]
    Random(getrandom::Error),
    /// It cannot be stored.
    #[error(transparent)]
    Model(#[from] ModelError),
}

/// Makes a token: its id, and when it ends as xCAT writes it.
///
/// # Errors
/// The system gives no random numbers for it, or it cannot be stored.
pub(super) fn create(model: &Model, username: &str) -> Result<(String, String), TokenError> {
    let id = uuid()?;
    let setting = model.snapshot().site("tokenexpiredays");
    let never = setting.as_deref().is_some_and(|text| text.trim() == "never");
    let days = setting.and_then(|text| text.trim().parse().ok()).unwrap_or(TOKEN_DAYS_DEFAULT);
    let end = now() + days.clamp(0, TOKEN_DAYS_MAX) * 86_400;
    let expire = if never { "never".to_owned() } else { end.to_string() };
    let created = now().to_string();
    let values = [("username", username), ("expire", expire.as_str()), ("created", created.as_str())];
    let edit = Edit::set("token", &[("tokenid", &id)], &values).map_err(ModelError::Edit)?;
    let change = Change::quiet(username, "gettoken", vec![edit]);
    model.apply(change)?;
    let shown = if never { "never".to_owned() } else { shown_time(end) };
    Ok((id, shown))
}

fn now() -> i64 {
    jiff::Timestamp::now().as_second()
}

/// `2025-1-31 9:5:3`: numbers without leading zeros.
fn shown_time(second: i64) -> String {
    let time = jiff::Timestamp::from_second(second).unwrap_or(jiff::Timestamp::MAX);
    let t = time.to_zoned(jiff::tz::TimeZone::system());
    format!("{}-{}-{} {}:{}:{}", t.year(), t.month(), t.day(), t.hour(), t.minute(), t.second())
}

fn uuid() -> Result<String, TokenError> {
    let mut bytes = [0u8; 16];
    getrandom::fill(&mut bytes).map_err(TokenError::Random)?;
    bytes[6] = bytes[6] & 0x0f | 0x40;
    bytes[8] = bytes[8] & 0x3f | 0x80;
    let hex: String = bytes.iter().map(|byte| format!("{byte:02x}")).collect();
    let part = |from: usize, to: usize| hex.get(from..to).unwrap_or_default();
    Ok([part(0, 8), part(8, 12), part(12, 16), part(16, 20), part(20, 32)].join("-"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn hashes() {
        // Made by crypt(3).
        let hash = "$6$saltstring$svn8UoSVapNtMuq1ukKS4tPQd8iKwSMHWjl/O817G3uBnIFNjnQJuesI68u4OTLiBFdcbYEdFCoEOfaS35inz1";
        assert!(verify_hash("Hello world!", hash));
        assert!(!verify_hash("Hello world?", hash));
        assert!(!verify_hash("x", "$1$abc$def"));
    }
}
