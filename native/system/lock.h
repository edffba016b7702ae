// flock(2) for JavaScript: the lock belongs to the open file, so it goes with the process that held
// it.
#ifndef KY_LOCK_H
#define KY_LOCK_H

// Takes the exclusive lock of the open file without waiting. 0, -EWOULDBLOCK when another open file
// of the same inode holds it, or another -errno (-ENOLCK, -EOPNOTSUPP on odd file systems).
int ky_lock(int fd);

// Gives the lock back; closing every descriptor of the open file does the same.
int ky_unlock(int fd);

#endif
