//! Endpoints nearby first.

use std::sync::Arc;

use crate::balance::{Balancer, EndpointView, PickCx, Picker};
use crate::upstream::Endpoint;

/// Runs another policy within the caller's zone, and over all endpoints when the zone has none left.
///
/// The zone comes from [`PickCx::zone`], the endpoints' zones from discovery. A zone counts as having none
/// left when it has no usable endpoint or when all of them were tried. How many endpoints the zone has does
/// not matter: one local endpoint takes all local traffic, so give each zone enough of them.
#[derive(Debug)]
pub struct ZoneAware {
    inner: Arc<dyn Balancer>,
}

impl ZoneAware {
    /// Prefers the caller's zone and chooses by `inner` within it.
    #[must_use]
    pub fn new(inner: Arc<dyn Balancer>) -> Self {
        Self { inner }
    }
}

impl Balancer for ZoneAware {
    fn picker(&self, view: &EndpointView<'_>) -> Arc<dyn Picker> {
        let mut groups: Vec<(Arc<str>, Vec<Arc<Endpoint>>)> = Vec::new();
        for endpoint in view.endpoints() {
            let Some(zone) = &endpoint.spec().zone else {
                continue;
            };
            match groups.iter_mut().find(|(known, _)| known == zone) {
                Some((_, members)) => members.push(Arc::clone(endpoint)),
                None => groups.push((Arc::clone(zone), vec![Arc::clone(endpoint)])),
            }
        }
        let zones = groups.into_iter().map(|(name, members)| Zone {
            name,
            picker: self.inner.picker(&EndpointView::new(&members)),
        });
        Arc::new(ZonePicker {
            zones: zones.collect(),
            all: self.inner.picker(view),
        })
    }

    fn name(&self) -> &str {
        self.inner.name()
    }
}

#[derive(Debug)]
struct Zone {
    name: Arc<str>,
    picker: Arc<dyn Picker>,
}

#[derive(Debug)]
struct ZonePicker {
    /// A handful at most, so a scan beats a map.
    zones: Box<[Zone]>,
    all: Arc<dyn Picker>,
}

impl Picker for ZonePicker {
    fn pick(&self, cx: &PickCx<'_>) -> Option<Arc<Endpoint>> {
        let local = cx.zone.and_then(|wanted| {
            let zone = self.zones.iter().find(|zone| *zone.name == *wanted)?;
            zone.picker.pick(cx)
        });
        match local {
            Some(endpoint) if !cx.was_tried(&endpoint) => Some(endpoint),
            _ => self.all.pick(cx),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::balance::{PowerOfTwo, law};
    use crate::upstream::EndpointSpec;

    fn zoned(zones: &[&str]) -> Vec<Arc<Endpoint>> {
        let spec = |(port, zone): (usize, &&str)| {
            EndpointSpec::new(([127, 0, 0, 1], port as u16 + 1)).with_zone(*zone)
        };
        zones
            .iter()
            .enumerate()
            .map(spec)
            .map(Endpoint::new)
            .collect()
    }

    fn picker(endpoints: &[Arc<Endpoint>]) -> Arc<dyn Picker> {
        ZoneAware::new(Arc::new(PowerOfTwo)).picker(&EndpointView::new(endpoints))
    }

    #[test]
    fn stays_in_the_zone_of_the_caller() {
        let endpoints = zoned(&["a", "b", "b"]);
        let picker = picker(&endpoints);
        for _ in 0..50 {
            let picked = picker.pick(&PickCx::new().with_zone("b")).unwrap();
            assert_eq!(picked.spec().zone.as_deref(), Some("b"));
        }
    }

    #[test]
    fn leaves_the_zone_when_all_of_it_was_tried() {
        let endpoints = zoned(&["a", "b"]);
        let tried = [endpoints[0].id()];
        let cx = PickCx::new().with_zone("a").with_attempt(1, &tried);
        assert_eq!(
            picker(&endpoints).pick(&cx).unwrap().id(),
            endpoints[1].id()
        );
    }

    #[test]
    fn an_unknown_zone_uses_all() {
        let endpoints = zoned(&["a"]);
        assert!(
            picker(&endpoints)
                .pick(&PickCx::new().with_zone("z"))
                .is_some()
        );
    }

    #[test]
    fn keeps_the_laws() {
        law::check_balancer(&|| Arc::new(ZoneAware::new(Arc::new(PowerOfTwo))));
    }
}
