#include "secrets/public_prefix.h"

#include <array>

namespace sallyport::secrets {
namespace {

/// Fewer characters than this behind a prefix are no token of that issuer, and showing the prefix
/// of a short password would show a part of it.
constexpr size_t kMinUnseen = 16;

// The longest one that fits is taken, so the order is for people: by issuer.
constexpr std::array kPrefixes = std::to_array<std::string_view>({
    // Code hosting
    "ghp_",
    "gho_",
    "ghu_",
    "ghs_",
    "ghr_",
    "github_pat_",
    "glpat-",
    "gldt-",
    "glrt-",
    "glptt-",
    "glcbt-",
    "glsoat-",
    "glft-",
    "ATATT3",
    "ATCTT3",
    "ATBB",
    // Language models
    "sk-ant-",
    "sk-ant-api03-",
    "sk-ant-admin01-",
    "sk-ant-oat01-",
    "sk-ant-ort01-",
    "sk-",
    "sk-proj-",
    "sk-svcacct-",
    "sk-admin-",
    "sk-or-v1-",
    "sk-lf-",
    "pk-lf-",
    "hf_",
    "gsk_",
    "xai-",
    "r8_",
    "pplx-",
    "fw_",
    "nvapi-",
    "lsv2_pt_",
    "lsv2_sk_",
    "pcsk_",
    "tvly-",
    "fc-",
    "e2b_",
    "AIza",
    // Clouds and infrastructure
    "AKIA",
    "ASIA",
    "ya29.",
    "GOCSPX-",
    "dop_v1_",
    "doo_v1_",
    "dor_v1_",
    "hvs.",
    "hvb.",
    "hvr.",
    "dapi",
    "dp.pt.",
    "dp.st.",
    "sbp_",
    "sb_secret_",
    "pscale_tkn_",
    "pscale_pw_",
    "tskey-",
    "tskey-auth-",
    "tskey-api-",
    "HRKU-",
    "nfp_",
    "fo1_",
    "NRAK-",
    "glsa_",
    "glc_",
    "sntrys_",
    "sntryu_",
    "bkua_",
    "CCIPAT_",
    "CCIPRJ_",
    // Package registries
    "npm_",
    "pypi-",
    "pypi-AgEIcHlwaS5vcmc",
    "rubygems_",
    "dckr_pat_",
    "dckr_oat_",
    // Messages, payments, everything else
    "xoxb-",
    "xoxp-",
    "xoxa-",
    "xoxr-",
    "xoxs-",
    "xoxe-",
    "xoxe.xoxp-",
    "xoxe.xoxb-",
    "xoxc-",
    "xoxd-",
    "xapp-",
    "SG.",
    "xkeysib-",
    "key-",
    "sk_live_",
    "sk_test_",
    "rk_live_",
    "rk_test_",
    "pk_live_",
    "pk_test_",
    "whsec_",
    "shpat_",
    "shpca_",
    "shppa_",
    "shpss_",
    "sq0atp-",
    "sq0csp-",
    "ntn_",
    "secret_",
    "lin_api_",
    "lin_oauth_",
    "figd_",
    "PMAK-",
});

}  // namespace

std::string_view PublicPrefixOf(std::string_view value) {
  if (value.size() < kMinUnseen) return {};
  std::string_view longest;
  for (const std::string_view prefix : kPrefixes) {
    if (prefix.size() > longest.size() && value.starts_with(prefix)) longest = prefix;
  }
  return value.size() >= longest.size() + kMinUnseen ? longest : std::string_view();
}

}  // namespace sallyport::secrets
