{
  "variables": {
    "engine_sources": [
      "native/engine/bpf.c",
      "native/engine/checksum.c",
      "native/engine/decap.c",
      "native/engine/encap.c",
      "native/engine/engine.c",
      "native/engine/gro.c",
      "native/engine/gso.c",
      "native/engine/icmp.c",
      "native/engine/inject.c",
      "native/engine/inner.c",
      "native/engine/moderation.c",
      "native/engine/peers.c",
      "native/engine/placement.c",
      "native/engine/probe.c",
      "native/engine/probe_inject.c",
      "native/engine/probe_ring.c",
      "native/engine/rawip.c",
      "native/engine/receive.c",
      "native/engine/ring.c",
      "native/engine/ring_program.c",
      "native/engine/runs.c",
      "native/engine/stats.c",
      "native/engine/steer.c",
      "native/engine/tun.c",
      "native/engine/udp.c",
      "native/engine/underlay.c",
      "native/engine/vxlan.c",
      "native/engine/worker.c"
    ],
    "system_sources": ["native/system/lock.c", "native/system/netlink.c", "native/system/notify.c"],
    "addon_sources": ["native/addon/addon.cc", "native/addon/watch.c", "native/bench/microbench.c"]
  }
}
