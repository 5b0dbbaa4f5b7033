//! GET requests over HTTP/2.

use bytes::Bytes;
use h2::client::SendRequest;
use http::Request;

use crate::target::{Dialer, Failure};

/// A connection; the task that drives it ends with the last of its handles.
pub(crate) async fn connect(dialer: &Dialer) -> Result<SendRequest<Bytes>, Failure> {
    let stream = dialer.tls().await?;
    let (requests, connection) = h2::client::handshake(stream).await?;
    tokio::task::spawn_local(async move {
        // A connection that fails fails its requests, which is where it is counted.
        let _ = connection.await;
    });
    Ok(requests)
}

/// Makes one request; the reply's status, and its body piece by piece for `piece`.
///
/// # Errors
///
/// When the connection or the stream ends before the reply does.
pub(crate) async fn reply(
    dialer: &Dialer,
    requests: &SendRequest<Bytes>,
    mut piece: impl FnMut(&[u8]),
) -> Result<u16, Failure> {
    let target = &dialer.target;
    let request = Request::get(format!("https://{}{}", target.host, target.path)).body(())?;
    let mut requests = requests.clone().ready().await?;
    let (response, _) = requests.send_request(request, true)?;
    let (head, mut body) = response.await?.into_parts();
    while let Some(data) = body.data().await {
        let data = data?;
        body.flow_control().release_capacity(data.len())?;
        piece(&data);
    }
    Ok(head.status.as_u16())
}

/// Makes one request.
///
/// # Errors
///
/// Anything but a reply with status 200 and a body of the expected length.
pub(crate) async fn exchange(
    dialer: &Dialer,
    requests: &SendRequest<Bytes>,
) -> Result<(), Failure> {
    let mut actual = 0;
    let status = reply(dialer, requests, |data| actual += data.len()).await?;
    match status {
        200 if actual == dialer.target.body => Ok(()),
        200 => Err(Failure::Length {
            expected: dialer.target.body,
            actual,
        }),
        status => Err(Failure::Status(status)),
    }
}
