// Where opening failed: the step, for the control plane to name the object and the remedy.
#ifndef KY_FAULT_H
#define KY_FAULT_H

struct ky_fault {
    const char *step; // one of "tun-open", "tun-name", "tun-offload", "udp-bind", "udp-option",
                      // "send-bind", "memory", "thread"
    int err;          // -errno
};

static inline int ky_fail(struct ky_fault *fault, const char *step, int err) {
    fault->step = step;
    fault->err = err;
    return err;
}

#endif
