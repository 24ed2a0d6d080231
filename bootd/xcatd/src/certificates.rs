//! The private CA, the server certificate and the users' client certificates.
//!
//! File names, directories, modes and subjects are xCAT's, so that its clients find what they
//! look for. The keys are ECDSA P-256 (xCAT: RSA 2048). Not-before is 1970: a node whose clock
//! battery is dead must still be able to verify. Everything here is idempotent: readable files stay, missing
//! ones are made.
//!
//! ```text
//! DIR/ca/   ca-cert.pem  private/ca-key.pem  certs/<serial>.pem  serial  index  index.attr  crl/
//! DIR/cert/ server-cert.pem  server-key.pem  server-cred.pem (certificate, then key)  ca.pem
//! ~/.xcat/  client-cert.pem  client-key.pem  client-cred.pem (certificate, then key)  ca.pem
//! ```

use rcgen::{
    BasicConstraints, CertificateParams, DistinguishedName, DnType, ExtendedKeyUsagePurpose, IsCa, Issuer,
    KeyPair, KeyUsagePurpose, SanType, SerialNumber, date_time_ymd,
};
use std::fs;
use std::io;
use std::net::IpAddr;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::time::{SystemTime, UNIX_EPOCH};

/// Years a certificate is valid from the day it is made.
const VALID_YEARS: i32 = 20;
/// A clock that shows less is not believed when the end of validity is computed.
const CLOCK_YEAR_MIN: i32 = 2026;

/// What can go wrong with certificate files.
#[derive(Debug, thiserror::Error)]
pub enum CertificateError {
    /// A file or directory.
    #[error("{path}: {source}")]
    File {
        /// Which.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// Key or certificate material.
    #[error("{path}: {source}")]
    Material {
        /// Which file holds or should hold it.
        path: PathBuf,
        /// Why.
        source: rcgen::Error,
    },
}

/// The CA and server certificate directories of a data directory.
#[derive(Clone, Debug)]
pub struct Authority {
    ca: PathBuf,
    cert: PathBuf,
}

impl Authority {
    /// The layout below a data directory; touches nothing.
    pub fn new(data: &Path) -> Self {
        Self { ca: data.join("ca"), cert: data.join("cert") }
    }

    /// Certificate and key of the server in one file.
    pub fn server_cred(&self) -> PathBuf {
        self.cert.join("server-cred.pem")
    }

    /// The CA certificate peers are verified against.
    pub fn ca_certificate(&self) -> PathBuf {
        self.cert.join("ca.pem")
    }

    /// Makes CA and server certificate if they are missing. `host` is the subject, `names` and
    /// `addresses` the alternative names. True if something was made.
    pub fn ensure_server(
        &self,
        host: &str,
        names: &[String],
        addresses: &[IpAddr],
    ) -> Result<bool, CertificateError> {
        let made_ca = self.ensure_ca("xCAT CA")?;
        make_dir(&self.cert, 0o755)?;
        if self.server_cred().exists() && !made_ca {
            return Ok(false);
        }
        let mut params = leaf(host);
        params.extended_key_usages =
            vec![ExtendedKeyUsagePurpose::ServerAuth, ExtendedKeyUsagePurpose::ClientAuth];
        let names = names.iter().filter_map(|name| name.as_str().try_into().ok()).map(SanType::DnsName);
        params.subject_alt_names = names.chain(addresses.iter().copied().map(SanType::IpAddress)).collect();
        let (cert, key) = self.issue(params, &format!("/CN={host}"))?;
        write_file(&self.cert.join("server-cert.pem"), &cert, 0o644)?;
        write_file(&self.cert.join("server-key.pem"), &key, 0o600)?;
        write_file(&self.ca_certificate(), &read(&self.ca.join("ca-cert.pem"))?, 0o644)?;
        write_file(&self.server_cred(), &format!("{cert}{key}"), 0o600)?;
        Ok(true)
    }

    /// Makes the client certificate of `user` in `directory` (`~/.xcat`) unless one of this CA is
    /// there. True if something was made.
    pub fn ensure_client(&self, directory: &Path, user: &str) -> Result<bool, CertificateError> {
        make_dir(directory, 0o755)?;
        let ca = read(&self.ca.join("ca-cert.pem"))?;
        let ca_copy = directory.join("ca.pem");
        let of_this_ca = fs::read_to_string(&ca_copy).is_ok_and(|present| present == ca);
        if of_this_ca && directory.join("client-cred.pem").exists() {
            return Ok(false);
        }
        let mut params = leaf(user);
        params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ClientAuth];
        let (cert, key) = self.issue(params, &format!("/CN={user}"))?;
        write_file(&directory.join("client-cert.pem"), &cert, 0o600)?;
        write_file(&directory.join("client-key.pem"), &key, 0o600)?;
        write_file(&directory.join("client-cred.pem"), &format!("{cert}{key}"), 0o600)?;
        write_file(&ca_copy, &ca, 0o644)?;
        Ok(true)
    }

    fn ensure_ca(&self, name: &str) -> Result<bool, CertificateError> {
        let path = self.ca.join("ca-cert.pem");
        let key_path = self.ca.join("private/ca-key.pem");
        if path.exists() && key_path.exists() {
            return Ok(false);
        }
        for (directory, mode) in [("", 0o755), ("private", 0o700), ("certs", 0o755), ("crl", 0o755)] {
            make_dir(&self.ca.join(directory), mode)?;
        }
        let material = |source| CertificateError::Material { path: path.clone(), source };
        let key = KeyPair::generate().map_err(material)?;
        let mut params = subject(name);
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        params.key_usages =
            vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign, KeyUsagePurpose::DigitalSignature];
        let certificate = params.self_signed(&key).map_err(material)?;
        write_file(&key_path, &key.serialize_pem(), 0o600)?;
        write_file(&self.ca.join("serial"), "01\n", 0o644)?;
        write_file(&self.ca.join("index"), "", 0o644)?;
        write_file(&self.ca.join("index.attr"), "unique_subject = no\n", 0o644)?;
        write_file(&path, &certificate.pem(), 0o644)?;
        Ok(true)
    }

    /// Signs a certificate and enters it in the CA's books. Certificate and key as PEM.
    fn issue(
        &self,
        mut params: CertificateParams,
        subject: &str,
    ) -> Result<(String, String), CertificateError> {
        let path = self.ca.join("ca-cert.pem");
        let material = |source| CertificateError::Material { path: path.clone(), source };
        let ca_key = KeyPair::from_pem(&read(&self.ca.join("private/ca-key.pem"))?).map_err(material)?;
        let issuer = Issuer::from_ca_cert_pem(&read(&path)?, ca_key).map_err(material)?;
        let serial = self.next_serial()?;
        params.serial_number = Some(SerialNumber::from(serial));
        let key = KeyPair::generate().map_err(material)?;
        let certificate = params.signed_by(&key, &issuer).map_err(material)?;
        let pem = certificate.pem();
        write_file(&self.ca.join(format!("certs/{serial:02X}.pem")), &pem, 0o644)?;
        self.enter(serial, subject)?;
        Ok((pem, key.serialize_pem()))
    }

    fn next_serial(&self) -> Result<u64, CertificateError> {
        let path = self.ca.join("serial");
        let serial = u64::from_str_radix(read(&path)?.trim(), 16).unwrap_or(1);
        write_file(&path, &format!("{:02X}\n", serial.saturating_add(1)), 0o644)?;
        Ok(serial)
    }

    /// One line of OpenSSL's `index`: state, expiry, revocation, serial, file, subject. An older line
    /// of the same subject is marked revoked.
    fn enter(&self, serial: u64, subject: &str) -> Result<(), CertificateError> {
        let path = self.ca.join("index");
        let mut text = String::new();
        let year = (this_year() + VALID_YEARS) % 100;
        for line in read(&path)?.lines() {
            match line.strip_prefix("V\t") {
                Some(rest) if line.ends_with(&format!("\t{subject}")) => {
                    text.push_str(&format!("R\t{}\n", rest.replacen("\t\t", "\t700101000000Z\t", 1)));
                }
                _ => text.push_str(&format!("{line}\n")),
            }
        }
        text.push_str(&format!("V\t{year:02}0101000000Z\t\t{serial:02X}\tunknown\t{subject}\n"));
        write_file(&path, &text, 0o644)
    }
}

fn subject(common_name: &str) -> CertificateParams {
    let mut params = CertificateParams::default();
    params.distinguished_name = DistinguishedName::new();
    params.distinguished_name.push(DnType::CommonName, common_name);
    params.not_before = date_time_ymd(1970, 1, 1);
    params.not_after = date_time_ymd(this_year() + VALID_YEARS, 1, 1);
    params
}

fn leaf(common_name: &str) -> CertificateParams {
    let mut params = subject(common_name);
    params.is_ca = IsCa::ExplicitNoCa;
    params.key_usages = vec![
        KeyUsagePurpose::DigitalSignature,
        KeyUsagePurpose::KeyAgreement,
        KeyUsagePurpose::KeyEncipherment,
    ];
    params.use_authority_key_identifier_extension = true;
    params
}

fn this_year() -> i32 {
    let seconds = SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| since.as_secs());
    let years = seconds / 31_556_952;
    i32::try_from(1970 + years).unwrap_or(CLOCK_YEAR_MIN).max(CLOCK_YEAR_MIN)
}

fn read(path: &Path) -> Result<String, CertificateError> {
    fs::read_to_string(path).map_err(|source| CertificateError::File { path: path.to_owned(), source })
}

fn make_dir(path: &Path, mode: u32) -> Result<(), CertificateError> {
    let error = |source| CertificateError::File { path: path.to_owned(), source };
    fs::create_dir_all(path).map_err(error)?;
    fs::set_permissions(path, fs::Permissions::from_mode(mode)).map_err(error)
}

fn write_file(path: &Path, text: &str, mode: u32) -> Result<(), CertificateError> {
    dawn_serving::whole::write(path, text.as_bytes(), mode)
        .map_err(|source| CertificateError::File { path: path.to_owned(), source })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn layout_modes_and_idempotence() {
        let directory = tempfile::tempdir().expect("a directory");
        let authority = Authority::new(directory.path());
        let home = directory.path().join("home/.xcat");
        let names = ["mn1.cluster".to_owned(), "mn1".to_owned()];
        assert!(authority.ensure_server("mn1", &names, &[]).expect("server"));
        assert!(!authority.ensure_server("mn1", &names, &[]).expect("server again"));
        assert!(authority.ensure_client(&home, "root").expect("client"));
        assert!(!authority.ensure_client(&home, "root").expect("client again"));
        for (file, mode) in [
            ("ca/private/ca-key.pem", 0o600),
            ("cert/server-cred.pem", 0o600),
            ("cert/ca.pem", 0o644),
            ("home/.xcat/client-cred.pem", 0o600),
            ("home/.xcat/client-key.pem", 0o600),
            ("home/.xcat/client-cert.pem", 0o600),
            ("home/.xcat/ca.pem", 0o644),
        ] {
            let metadata = fs::metadata(directory.path().join(file)).expect(file);
            assert_eq!(metadata.permissions().mode() & 0o7777, mode, "{file}");
        }
        let index = fs::read_to_string(directory.path().join("ca/index")).expect("index");
        assert_eq!(index.lines().count(), 2);
        let serial = fs::read_to_string(directory.path().join("ca/serial")).expect("serial");
        assert_eq!(serial, "03\n");
    }
}
