/* Faults at the calls by which a process uses the file system, for processes that preload this library.
 *
 * A call counts if its path, or that of its file, lies below the folder that the control block names, and if the
 * process has the role that is asked for. At the call with the number that is asked for, the process kills itself (in
 * a write: before it, or when half is written), or the call fails with an error. What happens otherwise is logged.
 */
#define _GNU_SOURCE
#include <dirent.h>
#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/statvfs.h>
#include <sys/syscall.h>
#include <unistd.h>

enum { OFF, LOG, KILL, FAIL, HALF, SHORT };
enum { OTHER, DRIVER, WORKER };

struct control { /* the layout that interposed.py writes */
    int action, role, error, lasting;
    long at;
    volatile long count;
    volatile int fired;
    int log;
    char under[1024], part[256], functions[512], fired_at[1024];
};

static struct control *control;
static int roles_pid, its_role;

__attribute__((constructor)) static void begin(void) {
    const char *path = getenv("FAULTS_CONTROL");
    int file = path ? syscall(SYS_openat, AT_FDCWD, path, O_RDWR | O_CLOEXEC, 0) : -1;
    if (file < 0) return;
    void *place = mmap(NULL, sizeof(struct control), PROT_READ | PROT_WRITE, MAP_SHARED, file, 0);
    if (place != MAP_FAILED) control = place;
    syscall(SYS_close, file);
}

static int role(void) {
    int pid = (int)syscall(SYS_getpid);
    if (pid == roles_pid) return its_role;
    char text[8192];
    int file = syscall(SYS_openat, AT_FDCWD, "/proc/self/cmdline", O_RDONLY | O_CLOEXEC, 0);
    long size = file < 0 ? 0 : syscall(SYS_read, file, text, sizeof text - 1);
    if (file >= 0) syscall(SYS_close, file);
    for (long i = 0; i < size; i++)
        if (!text[i]) text[i] = ' ';
    text[size > 0 ? size : 0] = 0;
    its_role = strstr(text, "bootstrap.py") ? WORKER : strstr(text, "driver.py") || strstr(text, "superionic.cli") ? DRIVER : OTHER;
    roles_pid = pid;
    return its_role;
}

static void die(void) {
    syscall(SYS_kill, syscall(SYS_getpid), SIGKILL);
    for (;;) pause();
}

/* Tell what is to happen at a call: nothing (0), failure (1), half a write and death (2), half a write (3). */
static int step(const char *name, const char *path) {
    if (!control || control->action == OFF || role() != control->role) return 0;
    size_t depth = strlen(control->under);
    if (!depth || strncmp(path, control->under, depth) != 0) return 0;
    if (control->part[0] && !strstr(path, control->part)) return 0;
    if (control->functions[0]) {
        char entry[64];
        snprintf(entry, sizeof entry, ",%s,", name);
        if (!strstr(control->functions, entry)) return 0;
    }
    long number = __sync_add_and_fetch(&control->count, 1);
    if (control->action == LOG) {
        char line[1400];
        int size = snprintf(line, sizeof line, "%s %s\n", name, path + depth), saved = errno;
        int file = syscall(SYS_openat, AT_FDCWD, control->fired_at, O_WRONLY | O_APPEND | O_CREAT | O_CLOEXEC, 0600);
        if (file >= 0) {
            syscall(SYS_write, file, line, size);
            syscall(SYS_close, file);
        }
        errno = saved;
        return 0;
    }
    if (number != control->at && !(control->lasting && number > control->at)) return 0;
    if (!control->fired) snprintf(control->fired_at, sizeof control->fired_at, "%s %s", name, path + depth);
    control->fired = 1;
    int writes = !strcmp(name, "write");
    if (control->action == KILL || (control->action == HALF && !writes)) die();
    if (control->action == SHORT && !writes) return 0;
    if (control->action == FAIL) {
        errno = control->error;
        return 1;
    }
    return control->action == HALF ? 2 : 3;
}

static const char *path_of(int file, char *place, size_t size) {
    char name[64];
    snprintf(name, sizeof name, "/proc/self/fd/%d", file);
    long length = syscall(SYS_readlinkat, AT_FDCWD, name, place, size - 1);
    place[length > 0 ? length : 0] = 0;
    return place;
}

static const char *path_at(int folder, const char *path, char *place, size_t size) {
    if (!path || path[0] == '/' || folder == AT_FDCWD) return path ? path : "";
    path_of(folder, place, size);
    size_t length = strlen(place);
    snprintf(place + length, size - length, "/%s", path);
    return place;
}

static int armed(void) { return control && control->action != OFF; }

#define NEXT(name) \
    static __typeof__(&name) next; \
    if (!next) next = (__typeof__(&name))dlsym(RTLD_NEXT, #name)
#define AT_FILE(name, file, failure) \
    if (armed()) { \
        char place[2048]; \
        int saved = errno; \
        const char *path = path_of(file, place, sizeof place); \
        errno = saved; \
        if (step(name, path)) return failure; \
    }
#define AT_PATH(name, folder, its_path, failure) \
    if (armed()) { \
        char place[2048]; \
        if (step(name, path_at(folder, its_path, place, sizeof place))) return failure; \
    }
#define OPENING(flags) (((flags) & O_ACCMODE) != O_RDONLY || ((flags) & O_CREAT) ? "create" : "open")
#define MODE(flags) \
    mode_t mode = 0; \
    if ((flags) & (O_CREAT | O_TMPFILE)) { \
        va_list more; \
        va_start(more, flags); \
        mode = va_arg(more, mode_t); \
        va_end(more); \
    }

int open(const char *path, int flags, ...) {
    NEXT(open);
    MODE(flags)
    AT_PATH(OPENING(flags), AT_FDCWD, path, -1)
    return next(path, flags, mode);
}
int open64(const char *path, int flags, ...) {
    NEXT(open64);
    MODE(flags)
    AT_PATH(OPENING(flags), AT_FDCWD, path, -1)
    return next(path, flags, mode);
}
int openat(int folder, const char *path, int flags, ...) {
    NEXT(openat);
    MODE(flags)
    AT_PATH(OPENING(flags), folder, path, -1)
    return next(folder, path, flags, mode);
}
int openat64(int folder, const char *path, int flags, ...) {
    NEXT(openat64);
    MODE(flags)
    AT_PATH(OPENING(flags), folder, path, -1)
    return next(folder, path, flags, mode);
}
DIR *opendir(const char *path) {
    NEXT(opendir);
    AT_PATH("opendir", AT_FDCWD, path, NULL)
    return next(path);
}
DIR *fdopendir(int file) {
    NEXT(fdopendir);
    AT_FILE("opendir", file, NULL)
    return next(file);
}
ssize_t read(int file, void *data, size_t size) {
    NEXT(read);
    AT_FILE("read", file, -1)
    return next(file, data, size);
}
ssize_t write(int file, const void *data, size_t size) {
    NEXT(write);
    if (armed()) {
        char place[2048];
        int saved = errno;
        const char *path = path_of(file, place, sizeof place);
        errno = saved;
        int what = step("write", path);
        if (what == 1) return -1;
        if (what == 2) {
            next(file, data, size / 2);
            die();
        }
        if (what == 3) return next(file, data, size > 1 ? size / 2 : size);
    }
    return next(file, data, size);
}
int close(int file) {
    NEXT(close);
    if (armed()) {
        char place[2048];
        int saved = errno, flags = fcntl(file, F_GETFL);
        const char *path = path_of(file, place, sizeof place);
        errno = saved;
        /* Only of what was written: there, a network file system may say that the disk is full. It is closed then. */
        if (flags >= 0 && (flags & O_ACCMODE) != O_RDONLY && step("close", path)) {
            saved = errno;
            next(file);
            errno = saved;
            return -1;
        }
    }
    return next(file);
}
int fsync(int file) {
    NEXT(fsync);
    AT_FILE("fsync", file, -1)
    return next(file);
}
int fdatasync(int file) {
    NEXT(fdatasync);
    AT_FILE("fsync", file, -1)
    return next(file);
}
int ftruncate64(int file, off64_t size) {
    NEXT(ftruncate64);
    AT_FILE("truncate", file, -1)
    return next(file, size);
}
int flock(int file, int operation) {
    static int (*next)(int, int);
    if (!next) next = dlsym(RTLD_NEXT, "flock");
    AT_FILE("flock", file, -1)
    return next(file, operation);
}
int stat64(const char *path, struct stat64 *status) {
    NEXT(stat64);
    AT_PATH("stat", AT_FDCWD, path, -1)
    return next(path, status);
}
int lstat64(const char *path, struct stat64 *status) {
    NEXT(lstat64);
    AT_PATH("stat", AT_FDCWD, path, -1)
    return next(path, status);
}
int fstat64(int file, struct stat64 *status) {
    NEXT(fstat64);
    AT_FILE("stat", file, -1)
    return next(file, status);
}
int fstatat64(int folder, const char *path, struct stat64 *status, int flags) {
    NEXT(fstatat64);
    AT_PATH("stat", folder, path, -1)
    return next(folder, path, status, flags);
}
int statvfs64(const char *path, struct statvfs64 *status) {
    NEXT(statvfs64);
    AT_PATH("statvfs", AT_FDCWD, path, -1)
    return next(path, status);
}
int rename(const char *before, const char *after) {
    NEXT(rename);
    AT_PATH("rename", AT_FDCWD, before, -1)
    return next(before, after);
}
int renameat(int folder, const char *before, int other, const char *after) {
    NEXT(renameat);
    AT_PATH("rename", folder, before, -1)
    return next(folder, before, other, after);
}
int link(const char *before, const char *after) {
    NEXT(link);
    AT_PATH("link", AT_FDCWD, after, -1)
    return next(before, after);
}
int linkat(int folder, const char *before, int other, const char *after, int flags) {
    NEXT(linkat);
    AT_PATH("link", other, after, -1)
    return next(folder, before, other, after, flags);
}
int unlink(const char *path) {
    NEXT(unlink);
    AT_PATH("unlink", AT_FDCWD, path, -1)
    return next(path);
}
int unlinkat(int folder, const char *path, int flags) {
    NEXT(unlinkat);
    AT_PATH(flags & AT_REMOVEDIR ? "rmdir" : "unlink", folder, path, -1)
    return next(folder, path, flags);
}
int rmdir(const char *path) {
    NEXT(rmdir);
    AT_PATH("rmdir", AT_FDCWD, path, -1)
    return next(path);
}
int mkdir(const char *path, mode_t mode) {
    NEXT(mkdir);
    AT_PATH("mkdir", AT_FDCWD, path, -1)
    return next(path, mode);
}
int mkdirat(int folder, const char *path, mode_t mode) {
    NEXT(mkdirat);
    AT_PATH("mkdir", folder, path, -1)
    return next(folder, path, mode);
}
int utimensat(int folder, const char *path, const struct timespec times[2], int flags) {
    NEXT(utimensat);
    AT_PATH("utime", folder, path, -1)
    return next(folder, path, times, flags);
}
