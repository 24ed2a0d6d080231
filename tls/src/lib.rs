//! TLS with the cluster's own certificate authority: configurations from PEM files.
//!
//! Server: a client certificate is optional, an invalid one fails the handshake. Client: the chain is
//! verified against the authority's certificate, the host name is not (certificates are made before anyone
//! knows by which name the server will be called). TLS 1.2 and 1.3 only; older versions of xCAT's `legacy`
//! policy are deliberately missing.

use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::client::{WantsClientCert, WebPkiServerVerifier};
use rustls::crypto::{CryptoProvider, verify_tls12_signature, verify_tls13_signature};
use rustls::server::WebPkiClientVerifier;
use rustls::{
    CertificateError, ClientConfig, ConfigBuilder, DigitallySignedStruct, RootCertStore, ServerConfig,
    SignatureScheme,
};
use rustls_pki_types::pem::PemObject;
use rustls_pki_types::{CertificateDer, PrivateKeyDer, ServerName, UnixTime};
use std::path::{Path, PathBuf};
use std::sync::Arc;

/// Why a configuration cannot be made.
#[derive(Debug, thiserror::Error)]
pub enum TlsError {
    /// A PEM file cannot be read.
    #[error("{path}: {reason}")]
    Pem {
        /// Which.
        path: PathBuf,
        /// Why.
        reason: String,
    },
    /// Certificates and key do not make a configuration.
    #[error("{path}: {reason}")]
    Config {
        /// The certificate file.
        path: PathBuf,
        /// Why.
        reason: String,
    },
}

/// The daemon's side: `cred` holds certificate and key, `ca` the certificate authority of the peers.
pub fn server_config(cred: &Path, ca: &Path) -> Result<Arc<ServerConfig>, TlsError> {
    let provider = provider();
    let verifier = WebPkiClientVerifier::builder_with_provider(Arc::new(roots(ca)?), Arc::clone(&provider))
        .allow_unauthenticated()
        .build()
        .map_err(|error| config_error(cred, &error))?;
    let (chain, key) = credentials(cred)?;
    let config = ServerConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .map_err(|error| config_error(cred, &error))?
        .with_client_cert_verifier(verifier)
        .with_single_cert(chain, key)
        .map_err(|error| config_error(cred, &error))?;
    Ok(Arc::new(config))
}

/// A client with its certificate, verifying the server's chain.
pub fn client_config(cred: &Path, ca: &Path) -> Result<Arc<ClientConfig>, TlsError> {
    let (chain, key) = credentials(cred)?;
    let config = builder(Some(ca))?.with_client_auth_cert(chain, key);
    Ok(Arc::new(config.map_err(|error| config_error(cred, &error))?))
}

/// A client without a certificate, verifying the server's chain.
pub fn unnamed_client_config(ca: &Path) -> Result<Arc<ClientConfig>, TlsError> {
    Ok(Arc::new(builder(Some(ca))?.with_no_client_auth()))
}

/// A client without certificate that verifies nothing: what xCAT does when `~/.xcat` is not
/// set up. The daemon decides by policy what such a peer may do.
pub fn anonymous_client_config() -> Result<Arc<ClientConfig>, TlsError> {
    Ok(Arc::new(builder(None)?.with_no_client_auth()))
}

/// A client that verifies the server's chain against `ca`, or nothing.
fn builder(ca: Option<&Path>) -> Result<ConfigBuilder<ClientConfig, WantsClientCert>, TlsError> {
    let provider = provider();
    let chain = ca.map(|ca| chain_verifier(ca, &provider)).transpose()?;
    let verifier = PeerVerifier { chain, provider: Arc::clone(&provider) };
    let builder = ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .map_err(|error| config_error(ca.unwrap_or(Path::new("")), &error))?;
    Ok(builder.dangerous().with_custom_certificate_verifier(Arc::new(verifier)))
}

fn chain_verifier(ca: &Path, provider: &Arc<CryptoProvider>) -> Result<Arc<WebPkiServerVerifier>, TlsError> {
    WebPkiServerVerifier::builder_with_provider(Arc::new(roots(ca)?), Arc::clone(provider))
        .build()
        .map_err(|error| config_error(ca, &error))
}

fn config_error(path: &Path, error: &dyn std::fmt::Display) -> TlsError {
    TlsError::Config { path: path.to_owned(), reason: error.to_string() }
}

fn provider() -> Arc<CryptoProvider> {
    Arc::new(rustls::crypto::ring::default_provider())
}

fn pem_error(path: &Path, error: &dyn std::fmt::Display) -> TlsError {
    TlsError::Pem { path: path.to_owned(), reason: error.to_string() }
}

fn roots(path: &Path) -> Result<RootCertStore, TlsError> {
    let mut store = RootCertStore::empty();
    for certificate in CertificateDer::pem_file_iter(path).map_err(|error| pem_error(path, &error))? {
        let certificate = certificate.map_err(|error| pem_error(path, &error))?;
        store.add(certificate).map_err(|error| pem_error(path, &error))?;
    }
    Ok(store)
}

type Credentials = (Vec<CertificateDer<'static>>, PrivateKeyDer<'static>);

fn credentials(path: &Path) -> Result<Credentials, TlsError> {
    let chain = CertificateDer::pem_file_iter(path)
        .and_then(|certificates| certificates.collect::<Result<Vec<_>, _>>())
        .map_err(|error| pem_error(path, &error))?;
    let key = PrivateKeyDer::from_pem_file(path).map_err(|error| pem_error(path, &error))?;
    Ok((chain, key))
}

/// Verifies the chain (if there is a CA to verify against) and ignores the host name.
#[derive(Debug)]
struct PeerVerifier {
    chain: Option<Arc<WebPkiServerVerifier>>,
    provider: Arc<CryptoProvider>,
}

impl ServerCertVerifier for PeerVerifier {
    fn verify_server_cert(
        &self,
        end_entity: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        server_name: &ServerName<'_>,
        ocsp_response: &[u8],
        now: UnixTime,
    ) -> Result<ServerCertVerified, rustls::Error> {
        let Some(chain) = &self.chain else { return Ok(ServerCertVerified::assertion()) };
        match chain.verify_server_cert(end_entity, intermediates, server_name, ocsp_response, now) {
            Err(rustls::Error::InvalidCertificate(
                CertificateError::NotValidForName | CertificateError::NotValidForNameContext { .. },
            )) => Ok(ServerCertVerified::assertion()),
            other => other,
        }
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        verify_tls12_signature(message, cert, dss, &self.provider.signature_verification_algorithms)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        verify_tls13_signature(message, cert, dss, &self.provider.signature_verification_algorithms)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.provider.signature_verification_algorithms.supported_schemes()
    }
}
