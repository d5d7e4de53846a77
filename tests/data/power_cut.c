/* A power cut for tests: an LD_PRELOAD shim that keeps a second copy of a folder holding only what was synced.
 *
 * POWER_CUT_FOLDER is watched. In POWER_CUT_SHADOW it keeps `data/<inode>`, the synced bytes of each file, and
 * `root/`, the names that a synced folder had, as hard links to them. A write or truncation reaches data/ when its
 * file is synced; a name reaches root/ when its folder is synced. After a SIGKILL, root/ is what a disk would hold
 * that lost everything it was allowed to lose.
 *
 * Faults: while the file POWER_CUT_SHADOW/full exists, writes to *-wal fail with ENOSPC; while broken-sync exists,
 * syncs of *-wal fail with EIO.
 */
#define _GNU_SOURCE
#include <dirent.h>
#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <pthread.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#define FILES 256
#define RANGES 65536

struct range { off_t from, to; };
struct file { ino_t inode; struct range *ranges; int count; off_t cut; char log; };

static struct file files[FILES];
static int file_count;
static pthread_mutex_t mutex = PTHREAD_MUTEX_INITIALIZER;
static char folder[PATH_MAX], shadow[PATH_MAX];

static ssize_t (*real_write)(int, const void *, size_t);
static ssize_t (*real_pwrite)(int, const void *, size_t, off_t);
static int (*real_ftruncate)(int, off_t);
static int (*real_fsync)(int);
static int (*real_unlink)(const char *);

static void fail(const char *what) { perror(what); abort(); }

__attribute__((constructor)) static void start(void) {
    real_write = dlsym(RTLD_NEXT, "write");
    real_pwrite = dlsym(RTLD_NEXT, "pwrite64");
    real_ftruncate = dlsym(RTLD_NEXT, "ftruncate64");
    real_fsync = dlsym(RTLD_NEXT, "fsync");
    real_unlink = dlsym(RTLD_NEXT, "unlink");
    const char *from = getenv("POWER_CUT_FOLDER"), *to = getenv("POWER_CUT_SHADOW");
    if (!from || !to || !realpath(from, folder) || !realpath(to, shadow)) folder[0] = 0;
}

/* The path of a descriptor below the watched folder, relative to it ("" for the folder itself), or NULL. */
static const char *below(int fd, char *path) {
    char link[64];
    if (!folder[0]) return NULL;
    snprintf(link, sizeof link, "/proc/self/fd/%d", fd);
    ssize_t size = readlink(link, path, PATH_MAX - 1);
    if (size < 0) return NULL;
    path[size] = 0;
    size_t length = strlen(folder);
    if (strncmp(path, folder, length) != 0 || (path[length] != '/' && path[length] != 0)) return NULL;
    return path[length] ? path + length + 1 : path + length;
}

static void data_path(char *path, ino_t inode) { snprintf(path, PATH_MAX, "%s/data/%lu", shadow, (unsigned long)inode); }

static int fault(const char *name) {
    char path[PATH_MAX];
    snprintf(path, sizeof path, "%s/%s", shadow, name);
    return access(path, F_OK) == 0;
}

static int open_data(ino_t inode) {
    char path[PATH_MAX];
    data_path(path, inode);
    int fd = open(path, O_RDWR | O_CREAT | O_CLOEXEC, 0600);
    if (fd < 0) fail("power_cut: shadow file");
    return fd;
}

/* The record of an open regular file of the watched folder, or NULL. Shared memory is none: it never outlives power. */
static struct file *watched(int fd) {
    char path[PATH_MAX];
    struct stat info;
    const char *name = below(fd, path);
    if (!name || !*name || fstat(fd, &info) || !S_ISREG(info.st_mode)) return NULL;
    size_t length = strlen(name);
    if (length > 4 && strcmp(name + length - 4, "-shm") == 0) return NULL;
    for (int i = 0; i < file_count; i++)
        if (files[i].inode == info.st_ino) return &files[i];
    if (file_count == FILES) fail("power_cut: too many files");
    struct file *file = &files[file_count++];
    file->inode = info.st_ino;
    file->ranges = malloc(sizeof(struct range) * RANGES);
    file->count = 0;
    file->cut = LLONG_MAX;
    file->log = length > 4 && strcmp(name + length - 4, "-wal") == 0;
    close(open_data(info.st_ino));
    return file;
}

static void wrote(struct file *file, off_t from, off_t to) {
    if (file->count == RANGES) fail("power_cut: too many writes before a sync");
    file->ranges[file->count++] = (struct range){from, to};
}

static void copy(int from, int to, off_t start, off_t end) {
    char buffer[65536];
    while (start < end) {
        size_t want = end - start < (off_t)sizeof buffer ? (size_t)(end - start) : sizeof buffer;
        ssize_t got = pread(from, buffer, want, start);
        if (got <= 0) return; /* cut off since */
        if (real_pwrite(to, buffer, got, start) != got) fail("power_cut: shadow write");
        start += got;
    }
}

static void synced_file(int fd, struct file *file) {
    char path[64];
    struct stat info;
    /* Opened anew because a descriptor may be write-only; closing it would drop POSIX locks, so it stays open. */
    snprintf(path, sizeof path, "/proc/self/fd/%d", fd);
    int from = (fcntl(fd, F_GETFL) & O_ACCMODE) == O_WRONLY ? open(path, O_RDONLY | O_CLOEXEC) : fd;
    int to = open_data(file->inode);
    if (fstat(fd, &info)) fail("power_cut: fstat");
    struct stat old;
    if (file->cut != LLONG_MAX && !fstat(to, &old) && old.st_size > file->cut && real_ftruncate(to, file->cut))
        fail("power_cut: shadow cut");
    for (int i = 0; i < file->count; i++) copy(from, to, file->ranges[i].from, file->ranges[i].to);
    if (real_ftruncate(to, info.st_size)) fail("power_cut: shadow size");
    file->count = 0;
    file->cut = LLONG_MAX;
    close(to);
}

/* Make the names in root/<name> those that the real folder has now. */
static void synced_folder(const char *name) {
    char real[PATH_MAX * 2], kept[PATH_MAX * 2], from[PATH_MAX * 3], to[PATH_MAX * 3], data[PATH_MAX];
    struct stat info, old;
    struct dirent *entry;
    snprintf(real, sizeof real, "%s/%s", folder, name);
    snprintf(kept, sizeof kept, "%s/root/%s", shadow, name);
    DIR *list = opendir(kept);
    if (!list) return; /* the folder's own name is not synced yet */
    while ((entry = readdir(list))) {
        snprintf(from, sizeof from, "%s/%s", real, entry->d_name);
        snprintf(to, sizeof to, "%s/%s", kept, entry->d_name);
        if (entry->d_name[0] == '.' && entry->d_name[1 + (entry->d_name[1] == '.')] == 0) continue;
        data_path(data, 0);
        if (lstat(from, &info) == 0 && S_ISREG(info.st_mode)) data_path(data, info.st_ino);
        if (stat(to, &old) == 0 && S_ISREG(old.st_mode) && (stat(data, &info) || info.st_ino != old.st_ino)) real_unlink(to);
    }
    closedir(list);
    if (!(list = opendir(real))) return;
    while ((entry = readdir(list))) {
        snprintf(from, sizeof from, "%s/%s", real, entry->d_name);
        snprintf(to, sizeof to, "%s/%s", kept, entry->d_name);
        if (lstat(from, &info)) continue;
        if (S_ISDIR(info.st_mode) && entry->d_name[0] != '.') mkdir(to, 0700);
        data_path(data, info.st_ino);
        if (S_ISREG(info.st_mode) && access(data, F_OK) == 0 && access(to, F_OK) != 0 && link(data, to)) fail("power_cut: link");
    }
    closedir(list);
}

ssize_t write(int fd, const void *bytes, size_t size) {
    if (!folder[0]) return real_write(fd, bytes, size);
    pthread_mutex_lock(&mutex);
    struct file *file = watched(fd);
    off_t at = file ? ((fcntl(fd, F_GETFL) & O_APPEND) ? lseek(fd, 0, SEEK_END) : lseek(fd, 0, SEEK_CUR)) : 0;
    ssize_t result = -1;
    if (file && file->log && fault("full")) errno = ENOSPC;
    else result = real_write(fd, bytes, size);
    if (file && result > 0) wrote(file, at, at + result);
    pthread_mutex_unlock(&mutex);
    return result;
}

ssize_t pwrite64(int fd, const void *bytes, size_t size, off_t at) {
    if (!folder[0]) return real_pwrite(fd, bytes, size, at);
    pthread_mutex_lock(&mutex);
    struct file *file = watched(fd);
    ssize_t result = -1;
    if (file && file->log && fault("full")) errno = ENOSPC;
    else result = real_pwrite(fd, bytes, size, at);
    if (file && result > 0) wrote(file, at, at + result);
    pthread_mutex_unlock(&mutex);
    return result;
}

ssize_t pwrite(int fd, const void *bytes, size_t size, off_t at) { return pwrite64(fd, bytes, size, at); }

int ftruncate64(int fd, off_t size) {
    pthread_mutex_lock(&mutex);
    struct file *file = watched(fd);
    int result = real_ftruncate(fd, size);
    if (file && result == 0 && size < file->cut) file->cut = size;
    pthread_mutex_unlock(&mutex);
    return result;
}

int ftruncate(int fd, off_t size) { return ftruncate64(fd, size); }

int fsync(int fd) {
    char path[PATH_MAX];
    struct stat info;
    pthread_mutex_lock(&mutex);
    struct file *file = watched(fd);
    const char *name = below(fd, path);
    int result = -1;
    if (file && file->log && fault("broken-sync")) errno = EIO;
    else result = real_fsync(fd);
    if (result == 0 && file) synced_file(fd, file);
    else if (result == 0 && name && fstat(fd, &info) == 0 && S_ISDIR(info.st_mode)) synced_folder(name);
    pthread_mutex_unlock(&mutex);
    return result;
}

int fdatasync(int fd) { return fsync(fd); }

int unlink(const char *path) {
    char data[PATH_MAX], gone[PATH_MAX + 32];
    struct stat info;
    static int number;
    pthread_mutex_lock(&mutex);
    int known = folder[0] && lstat(path, &info) == 0 && S_ISREG(info.st_mode) && info.st_nlink == 1;
    int result = real_unlink(path);
    if (known && result == 0) {
        /* The inode may be used again: its synced bytes stay reachable only by the names in root/. */
        data_path(data, info.st_ino);
        snprintf(gone, sizeof gone, "%s.gone-%d", data, ++number);
        for (int i = 0; i < file_count; i++)
            if (files[i].inode == info.st_ino) {
                rename(data, gone);
                free(files[i].ranges);
                files[i] = files[--file_count];
                break;
            }
    }
    pthread_mutex_unlock(&mutex);
    return result;
}
