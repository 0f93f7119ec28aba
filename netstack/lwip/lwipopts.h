#pragma once

// How lwIP is built for Sallyport: no operating system underneath, TCP only, both IP versions, one
// interface. ARP, neighbour discovery, fragments, ICMP and UDP are ours (netstack/*.cc).

#define NO_SYS 1
#define SYS_LIGHTWEIGHT_PROT 0
#define LWIP_SOCKET 0
#define LWIP_NETCONN 0
// tcp_tmr() is called by us, and only when there is need.
#define LWIP_TIMERS 0
#define LWIP_SINGLE_NETIF 1
#define LWIP_STATS 0

// Memory comes from malloc; ours ends the process when there is none, so no ERR_MEM is ever seen.
#define MEM_LIBC_MALLOC 1
#define MEMP_MEM_MALLOC 1
#define MEM_ALIGNMENT 8
#define mem_clib_malloc sallyport_lwip_malloc
#define mem_clib_calloc sallyport_lwip_calloc
#define mem_clib_free sallyport_lwip_free
#define MEMP_NUM_TCP_PCB 65535  // Counted by us; see StackOptions.
#define PBUF_POOL_SIZE 2  // Unused: no pbuf of ours comes from a pool.
#define PBUF_POOL_BUFSIZE 1536
#define LWIP_SUPPORT_CUSTOM_PBUF 1

#define LWIP_IPV4 1
#define LWIP_IPV6 1
#define LWIP_IPV6_SCOPES 0
#define LWIP_IPV6_MLD 0
#define LWIP_IPV6_FRAG 0
#define LWIP_IPV6_REASS 0
#define LWIP_IPV6_DUP_DETECT_ATTEMPTS 0
#define LWIP_IPV6_SEND_ROUTER_SOLICIT 0
#define LWIP_IPV6_AUTOCONFIG 0
#define LWIP_ND6_ALLOW_RA_UPDATES 0
#define LWIP_ND6_QUEUEING 0
#define LWIP_ARP 0
#define LWIP_ETHERNET 0
#define LWIP_ICMP 0
#define LWIP_RAW 0
#define LWIP_UDP 0
#define LWIP_DHCP 0
#define LWIP_DNS 0
#define IP_FRAG 0
#define IP_REASSEMBLY 0

// Checksums are switched off at run time where the link computes them.
#define LWIP_CHECKSUM_CTRL_PER_NETIF 1
#define LWIP_CHECKSUM_ON_COPY 0
#define LWIP_CHKSUM_ALGORITHM 3

#define LWIP_TCP 1
#define LWIP_CALLBACK_API 1
#define TCP_LISTEN_BACKLOG 0
// The largest segment of which headers and payload still fit in 65,535 bytes: with segmentation
// offload one frame carries that much, whatever the guest's MTU.
#define TCP_MSS 65480
#define TCP_CALCULATE_EFF_SEND_MSS 1
#define LWIP_DISABLE_TCP_SANITY_CHECKS 1  // They assume an MSS of at most 16 KiB.
#define LWIP_WND_SCALE 1
#define TCP_RCV_SCALE 7
#define TCP_WND (1024 * 1024)
#define TCP_SND_BUF (1024 * 1024)  // Above what we ever hand over (StackOptions::send_buffer).
// In pbufs, two a segment: send_buffer in segments of 1,460 bytes takes 719.
#define TCP_SND_QUEUELEN 1024
#define TCP_SNDLOWAT 1
#define TCP_SNDQUEUELOWAT 1
#define TCP_OVERSIZE 0
#define LWIP_TCP_TIMESTAMPS 0
#define TCP_QUEUE_OOSEQ 1
#define LWIP_TCP_SACK_OUT 1
// Links lose next to nothing, so little ever waits out of order; what a hostile guest can make wait
// is bounded in bytes, and in pieces since each insertion walks the list.
#define TCP_OOSEQ_MAX_BYTES (256 * 1024)
#define TCP_OOSEQ_MAX_PBUFS 128
// How long a closing connection may stay silent is twice this; TIME_WAIT itself is never kept.
#define TCP_MSL 60000UL
// lwIP counts time in ticks of twice this many milliseconds; finer ones recover sooner from loss.
#define TCP_TMR_INTERVAL 25

#define LWIP_RAND() sallyport_lwip_random()
#define LWIP_HOOK_TCP_ISN(local_ip, local_port, remote_ip, remote_port) \
  sallyport_lwip_initial_sequence()
