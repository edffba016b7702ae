// The numbers of rtnetlink that are used here, under the kernel's own names without their prefix.
// Sources: linux/netlink.h, linux/rtnetlink.h, linux/if_link.h, linux/if_addr.h, linux/if.h,
// linux/if_tunnel.h, linux/neighbour.h.

/** netlink families */
export const NETLINK_ROUTE = 0;
export const NETLINK_NETFILTER = 12;

/** linux/netfilter/nfnetlink.h and nf_tables.h; a message's type is `subsystem << 8 | message`. */
export const NFNL_SUBSYS_NFTABLES = 10;
export const NFT_MSG = { GETGEN: 16 } as const;
export const NFTA_GEN = { ID: 1 } as const;
/** NFNLGRP_NFTABLES, as the bit mask that a socket is opened with. */
export const NFNL_GROUP_NFTABLES = 1 << 6;

/** nlmsghdr.nlmsg_type */
export const NLMSG = { ERROR: 2, DONE: 3 } as const;

export const RTM = {
  NEWLINK: 16,
  DELLINK: 17,
  GETLINK: 18,
  NEWADDR: 20,
  DELADDR: 21,
  GETADDR: 22,
  NEWROUTE: 24,
  DELROUTE: 25,
  GETROUTE: 26,
  NEWNEIGH: 28,
  DELNEIGH: 29,
  GETNEIGH: 30,
} as const;

/** nlmsghdr.nlmsg_flags; REQUEST and ACK are set by the native side */
export const NLM_F = {
  MULTI: 0x2,
  DUMP: 0x300,
  REPLACE: 0x100,
  EXCL: 0x200,
  CREATE: 0x400,
  APPEND: 0x800,
  // In an NLMSG_ERROR: the request is not echoed, and attributes follow.
  CAPPED: 0x100,
  ACK_TLVS: 0x200,
} as const;

export const NLMSGERR_ATTR = { MSG: 1, OFFS: 2 } as const;

/** The two top bits of an attribute's type: "nested" and "network byte order". */
export const NLA_TYPE_MASK = 0x3fff;

export const AF = { UNSPEC: 0, INET: 2, BRIDGE: 7, INET6: 10 } as const;

export const IFLA = {
  ADDRESS: 1,
  IFNAME: 3,
  MTU: 4,
  LINK: 5,
  MASTER: 10,
  TXQLEN: 13,
  LINKINFO: 18,
  EXT_MASK: 29,
  GSO_MAX_SIZE: 41,
  GSO_IPV4_MAX_SIZE: 63,
} as const;
export const IFLA_INFO = { KIND: 1, DATA: 2 } as const;
export const IFLA_VXLAN = {
  ID: 1,
  GROUP: 2,
  LINK: 3,
  LOCAL: 4,
  TTL: 5,
  TOS: 6,
  LEARNING: 7,
  PROXY: 11,
  RSC: 12,
  L2MISS: 13,
  L3MISS: 14,
  PORT: 15,
  GROUP6: 16,
  LOCAL6: 17,
  UDP_ZERO_CSUM6_TX: 19,
  UDP_ZERO_CSUM6_RX: 20,
  GBP: 23,
  COLLECT_METADATA: 25,
  GPE: 27,
} as const;
export const IFLA_IPTUN = {
  LINK: 1,
  LOCAL: 2,
  REMOTE: 3,
  TTL: 4,
  TOS: 5,
  PROTO: 9,
  PMTUDISC: 10,
  ENCAP_TYPE: 15,
  COLLECT_METADATA: 19,
} as const;
/** Leaves the statistics out of the answer. */
export const RTEXT_FILTER_SKIP_STATS = 8;

export const IFF = { UP: 0x1, LOOPBACK: 0x8, LOWER_UP: 0x10000 } as const;

export const IFA = { ADDRESS: 1, LOCAL: 2, FLAGS: 8 } as const;
export const IFA_F = { TEMPORARY: 0x01, NODAD: 0x02, DEPRECATED: 0x20, PERMANENT: 0x80 } as const;

export const RTA = {
  DST: 1,
  OIF: 4,
  GATEWAY: 5,
  PRIORITY: 6,
  PREFSRC: 7,
  MULTIPATH: 9,
  TABLE: 15,
} as const;
export const RT_TABLE = { UNSPEC: 0, MAIN: 254, LOCAL: 255 } as const;
export const RTPROT = { UNSPEC: 0, KERNEL: 2, BOOT: 3, STATIC: 4 } as const;
/** Ours, on routes over interfaces of the host. Not given to anybody in linux/rtnetlink.h or iproute2's rt_protos. */
export const KERSEY_RTPROT = 85;
export const RT_SCOPE = { UNIVERSE: 0, LINK: 253, NOWHERE: 255 } as const;
export const RTN = { UNSPEC: 0, UNICAST: 1, BLACKHOLE: 6 } as const;
export const RTNH_F = { ONLINK: 4 } as const;
export const RTM_F = { CLONED: 0x200 } as const;

export const NDA = {
  DST: 1,
  LLADDR: 2,
  PORT: 6,
  VNI: 7,
  IFINDEX: 8,
  MASTER: 9,
  NH_ID: 13,
} as const;
export const NUD = { NOARP: 0x40, PERMANENT: 0x80 } as const;
export const NTF = { SELF: 0x02 } as const;

/** The index of `lo` in every network namespace (LOOPBACK_IFINDEX of linux/net/flow.h). */
export const LOOPBACK_INDEX = 1;

/** Multicast groups, as the bit mask that a socket is opened with. */
export const GROUP = {
  LINK: 1 << 0,
  NEIGH: 1 << 2,
  IPV4_IFADDR: 1 << 4,
  IPV4_ROUTE: 1 << 6,
  IPV6_IFADDR: 1 << 8,
  IPV6_ROUTE: 1 << 10,
} as const;
