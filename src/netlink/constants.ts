// The numbers of rtnetlink that are used here, under the kernel's own names without their prefix.
// Sources: linux/netlink.h, linux/rtnetlink.h, linux/if_link.h, linux/if_addr.h, linux/if.h.

/** netlink families */
export const NETLINK_ROUTE = 0;
export const NETLINK_NETFILTER = 12;

/** linux/netfilter/nfnetlink.h and nf_tables.h; a message's type is `subsystem << 8 | message`. */
export const NFNL_SUBSYS_NFTABLES = 10;
export const NFT_MSG = { GETGEN: 16 } as const;
export const NFTA_GEN = { ID: 1 } as const;

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
} as const;

/** nlmsghdr.nlmsg_flags; REQUEST and ACK are set by the native side */
export const NLM_F = {
  MULTI: 0x2,
  DUMP: 0x300,
  REPLACE: 0x100,
  EXCL: 0x200,
  CREATE: 0x400,
  // In an NLMSG_ERROR: the request is not echoed, and attributes follow.
  CAPPED: 0x100,
  ACK_TLVS: 0x200,
} as const;

export const NLMSGERR_ATTR = { MSG: 1, OFFS: 2 } as const;

/** The two top bits of an attribute's type: "nested" and "network byte order". */
export const NLA_TYPE_MASK = 0x3fff;

export const AF = { UNSPEC: 0, INET: 2, INET6: 10 } as const;

export const IFLA = {
  ADDRESS: 1,
  IFNAME: 3,
  MTU: 4,
  LINK: 5,
  TXQLEN: 13,
  LINKINFO: 18,
  EXT_MASK: 29,
  GSO_MAX_SIZE: 41,
  GSO_IPV4_MAX_SIZE: 63,
} as const;
export const IFLA_INFO = { KIND: 1 } as const;
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
export const RT_SCOPE = { UNIVERSE: 0, LINK: 253, NOWHERE: 255 } as const;
export const RTN = { UNSPEC: 0, UNICAST: 1 } as const;
export const RTNH_F = { ONLINK: 4 } as const;
export const RTM_F = { CLONED: 0x200 } as const;

/** Multicast groups, as the bit mask that a socket is opened with. */
export const GROUP = {
  LINK: 1 << 0,
  IPV4_IFADDR: 1 << 4,
  IPV4_ROUTE: 1 << 6,
  IPV6_IFADDR: 1 << 8,
  IPV6_ROUTE: 1 << 10,
} as const;
