//! One request each, with the path that it must take.

use anstyle::AnsiColor;
use anyhow::{Context as _, ensure};

use super::{PR_123, headers};
use crate::{picture, shop::Shop};

pub(super) struct Scene {
    about: &'static str,
    headers: &'static [(&'static str, &'static str)],
    path: [&'static str; 3],
}

impl Scene {
    /// Sends the request, and shows its path.
    pub(super) async fn play(&self, shop: &Shop) -> anyhow::Result<()> {
        let (visit, _) = shop.visit(&headers(self.headers)?).await.context(self.about)?;
        anstream::println!("{:<34}{}", self.about, picture::path(&visit.path));
        for (name, value) in self.headers {
            let line = format!("{name}: {value}");
            anstream::println!("  {}", picture::paint(AnsiColor::BrightBlack, &line));
        }
        ensure!(visit.path == self.path, "the request took this path instead of {:?}", self.path);
        Ok(())
    }
}

pub(super) const SCENES: [Scene; 9] = [
    Scene { about: "no key", headers: &[], path: ["frontend", "cart", "pricing"] },
    Scene {
        about: "pr-123 changes the cart",
        headers: &[PR_123],
        path: ["frontend", "cart-pr-123", "pricing"],
    },
    Scene {
        about: "pr-7 changes frontend and pricing",
        headers: &[("baggage", "sandbox=pr-7")],
        path: ["frontend-pr-7", "cart", "pricing-pr-7"],
    },
    Scene {
        about: "a group of both",
        headers: &[("baggage", "sandbox=release-42")],
        path: ["frontend-pr-7", "cart-pr-123", "pricing-pr-7"],
    },
    Scene {
        about: "the key among other baggage",
        headers: &[("baggage", "userId=alice,sandbox = pr%2D123;ttl=1 , region=eu")],
        path: ["frontend", "cart-pr-123", "pricing"],
    },
    Scene {
        about: "an unknown key",
        headers: &[("baggage", "sandbox=pr-12")],
        path: ["frontend", "cart", "pricing"],
    },
    Scene {
        about: "a disabled sandbox",
        headers: &[("baggage", "sandbox=pr-9")],
        path: ["frontend", "cart", "pricing"],
    },
    Scene {
        about: "a forged dispatch header",
        headers: &[("x-skycap-cluster", "outbound|80||frontend-pr-7.shop.svc.cluster.local")],
        path: ["frontend", "cart", "pricing"],
    },
    Scene {
        about: "a forged header and a key",
        headers: &[("x-skycap-cluster", "nowhere"), PR_123],
        path: ["frontend", "cart-pr-123", "pricing"],
    },
];
