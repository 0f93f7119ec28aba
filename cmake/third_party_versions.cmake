# What is compiled from Debian's packages, and which of their versions passed
# our tests. cmake/third_party.cmake fetches the newest accepted version.
#
#   _UPSTREAM  names the cache folder and `sandboxctl --version`
#   _PACKAGE   KIND:NAME; "source" unpacks NAME's sources, "binary" its files
#   _TESTED    list of Debian versions that all tests ran with
#   _ACCEPTED  glob patterns: besides the tested ones, later Debian revisions of
#              the same upstream release (security fixes); taken with a notice

set(SALLYPORT_LWIP_UPSTREAM 2.1.3)
set(SALLYPORT_LWIP_PACKAGE source:lwip)
set(SALLYPORT_LWIP_TESTED "2.1.3+dfsg1-2")
set(SALLYPORT_LWIP_ACCEPTED "2.1.3+dfsg1-*")

set(SALLYPORT_BORINGSSL_UPSTREAM 13.0.0+r24)
set(SALLYPORT_BORINGSSL_PACKAGE source:android-platform-external-boringssl)
set(SALLYPORT_BORINGSSL_TESTED "13.0.0+r24-2")
set(SALLYPORT_BORINGSSL_ACCEPTED "13.0.0+r24-*")

set(SALLYPORT_LLHTTP_UPSTREAM 8.1.0)
set(SALLYPORT_LLHTTP_PACKAGE binary:node-llhttp)
set(SALLYPORT_LLHTTP_TESTED "8.1.0~5.15.0+dfsg1+~cs20.10.9.3-1+deb12u4")
set(SALLYPORT_LLHTTP_ACCEPTED "8.1.0~5.15.0+dfsg1+~cs20.10.9.3-1*")

set(SALLYPORT_LUA_UPSTREAM 5.4.4)
set(SALLYPORT_LUA_PACKAGE source:lua5.4)
set(SALLYPORT_LUA_TESTED "5.4.4-3+deb12u1")
set(SALLYPORT_LUA_ACCEPTED "5.4.4-3*")
